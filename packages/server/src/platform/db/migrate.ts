import type { Kysely } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { DarkroomError, messageOf } from '../errors.ts';
import * as init from './migrations/0001-init.ts';
import * as snapshotReads from './migrations/0002-snapshot-reads.ts';
import * as sandboxesByRunner from './migrations/0003-sandboxes-by-runner.ts';
import * as previewLinks from './migrations/0005-preview-links.ts';
import * as sshAccess from './migrations/0006-ssh-access.ts';
import * as sandboxBandwidth from './migrations/0007-sandbox-bandwidth.ts';
import * as signingKeys from './migrations/0008-signing-keys.ts';
import * as builds from './migrations/0009-builds.ts';
import * as buildCache from './migrations/0010-build-cache.ts';
import * as captures from './migrations/0011-captures.ts';
import * as lifecycle from './migrations/0012-lifecycle.ts';
import * as garbage from './migrations/0013-garbage.ts';
import * as belonging from './migrations/0014-belonging.ts';
import * as failingWebhooks from './migrations/0015-failing-webhooks.ts';
import * as snapshotUsers from './migrations/0016-snapshot-users.ts';
import type { Database } from './schema.ts';

const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-init': init,
  '0002-snapshot-reads': snapshotReads,
  '0003-sandboxes-by-runner': sandboxesByRunner,
  '0005-preview-links': previewLinks,
  '0006-ssh-access': sshAccess,
  '0007-sandbox-bandwidth': sandboxBandwidth,
  '0008-signing-keys': signingKeys,
  '0009-builds': builds,
  '0010-build-cache': buildCache,
  '0011-captures': captures,
  '0012-lifecycle': lifecycle,
  '0013-garbage': garbage,
  '0014-belonging': belonging,
  '0015-failing-webhooks': failingWebhooks,
  '0016-snapshot-users': snapshotUsers,
};

/** Brings the tables up to this version's. Servers that start at the same time take turns (an advisory lock). */
export async function migrate(db: Kysely<Database>): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...MIGRATIONS }) } });
  await refuseNewerDatabase(db);
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  const failed = results?.find((result) => result.status === 'Error')?.migrationName;
  const step = failed === undefined ? '' : ` at ${failed}`;
  throw new DarkroomError('internal', `the database could not be migrated${step}: ${messageOf(error)}`, {
    hint: 'Nothing was changed. Look at the message, put it right, and start again.',
    cause: error,
  });
}

async function refuseNewerDatabase(db: Kysely<Database>): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some((table) => table.name === 'kysely_migration')) return;
  const applied = await db
    .withTables<{ kysely_migration: { name: string } }>()
    .selectFrom('kysely_migration')
    .select('name')
    .orderBy('name')
    .execute();
  const unknown = applied.map((row) => row.name).filter((name) => !(name in MIGRATIONS));
  if (unknown.length === 0) return;
  throw new DarkroomError('internal', `the database is newer than this Darkroom: it has ${unknown.join(', ')}`, {
    hint: 'Run the newer Darkroom again, or restore the backup that was made before it.',
  });
}
