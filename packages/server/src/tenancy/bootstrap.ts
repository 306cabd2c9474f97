import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Credentials, credentialsSchema, PERMISSIONS } from '@darkroom/contract';
import type { Kysely } from 'kysely';
import type { Config } from '../platform/config-schema.ts';
import type { Database } from '../platform/db/schema.ts';
import { undefinedIfMissing } from '../platform/errors.ts';
import { replaceFile } from '../platform/replace-file.ts';
import { generateKey, hashKey } from './api-key.ts';
import { createOrganization } from './organizations.ts';

export interface BootstrapOptions {
  stateDir: string;
  /** Where this server can be reached, without a path. */
  url: string;
  quotas: Config['quotas'];
}

/**
 * Makes sure that the operator of this machine can enter: an organization, an admin key, and `credentials.json` in the state
 * directory that names both. When the file is lost or its key is gone, a new admin key is made; its URL follows the server.
 */
export async function bootstrapTenancy(db: Kysely<Database>, options: BootstrapOptions): Promise<Credentials> {
  const path = join(options.stateDir, 'credentials.json');
  const known = await readCredentials(path);
  if (known !== undefined && (await isAdminKey(db, known))) {
    const current = { ...known, url: options.url };
    if (known.url !== options.url) await writeCredentials(path, current);
    return current;
  }
  const { organizationId, userId } = await firstOrganization(db, options.quotas);
  const { value, ...stored } = generateKey();
  const credentials = { url: options.url, apiKey: value, organizationId };
  // The key comes first: a file that names no key would lock everyone out, a key that no file names harms nobody.
  await db
    .insertInto('api_keys')
    .values({
      organization_id: organizationId,
      user_id: userId,
      name: `admin-${new Date().toISOString()}-${stored.suffix}`,
      permissions: [...PERMISSIONS],
      is_admin: true,
      ...stored,
    })
    .execute();
  await writeCredentials(path, credentials);
  return credentials;
}

async function isAdminKey(db: Kysely<Database>, { apiKey, organizationId }: Credentials): Promise<boolean> {
  const row = await db
    .selectFrom('api_keys')
    .select('id')
    .where('hash', '=', hashKey(apiKey))
    .where('organization_id', '=', organizationId)
    .where('is_admin', '=', true)
    .executeTakeFirst();
  return row !== undefined;
}

async function firstOrganization(
  db: Kysely<Database>,
  quotas: Config['quotas'],
): Promise<{ organizationId: string; userId: string }> {
  return db.transaction().execute(async (trx) => {
    const existing = await trx
      .selectFrom('api_keys')
      .select(['organization_id', 'user_id'])
      .where('is_admin', '=', true)
      .orderBy('created_at')
      .executeTakeFirst();
    if (existing !== undefined) return { organizationId: existing.organization_id, userId: existing.user_id };
    const organization = await createOrganization(trx, 'default', quotas);
    const user = await trx.insertInto('users').values({ name: 'admin' }).returning('id').executeTakeFirstOrThrow();
    return { organizationId: organization.id, userId: user.id };
  });
}

async function readCredentials(path: string): Promise<Credentials | undefined> {
  const text = await readFile(path, 'utf8').catch(undefinedIfMissing);
  if (text === undefined) return undefined;
  try {
    return credentialsSchema.safeParse(JSON.parse(text)).data;
  } catch {
    // Not JSON: as good as lost.
    return undefined;
  }
}

async function writeCredentials(path: string, credentials: Credentials): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await replaceFile(path, `${JSON.stringify(credentials, null, 2)}\n`, 0o600);
}
