import { createHash } from 'node:crypto';
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import type { BuildTable, Database } from '../platform/db/schema.ts';
import type { SecretBox } from '../platform/secrets.ts';
import type { BuildDefinition, BuildLimits } from './types.ts';

export type BuildRow = Selectable<BuildTable>;

/** What a client asks for, with the wire's names left behind. */
export interface BuildRequest {
  dockerfile: string;
  contextHashes: readonly string[];
  target: string | undefined;
  buildArgs: Readonly<Record<string, string>>;
  /** Values by id. */
  secrets: Readonly<Record<string, string>>;
  noCache: boolean;
  cacheMaxAgeSeconds: number | undefined;
}

/** What `builds.options` holds. */
export interface BuildOptions {
  target?: string;
  buildArgs?: Record<string, string>;
  noCache?: boolean;
  cacheMaxAgeSeconds?: number;
}

export interface NewBuild {
  id: string;
  organizationId: string;
  subject: { snapshotId: string } | { sandboxId: string };
  request: BuildRequest;
}

/** What clients know a definition by; two that differ in anything but text and contexts have the same. */
export function snapshotRefOf({ dockerfile, contextHashes }: Pick<BuildRequest, 'dockerfile' | 'contextHashes'>) {
  const sorted = [...contextHashes].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const hash = createHash('sha256').update(dockerfile).update(sorted.join(''));
  return `daytona-${hash.digest('hex')}:daytona`;
}

export async function insertBuild(
  trx: Transaction<Database>,
  box: Pick<SecretBox, 'seal'>,
  { id, organizationId, subject, request }: NewBuild,
): Promise<BuildRow> {
  const hasSecrets = Object.keys(request.secrets).length > 0;
  return trx
    .insertInto('builds')
    .values({
      id,
      organization_id: organizationId,
      snapshot_id: 'snapshotId' in subject ? subject.snapshotId : null,
      sandbox_id: 'sandboxId' in subject ? subject.sandboxId : null,
      dockerfile: request.dockerfile,
      context_hashes: [...request.contextHashes],
      snapshot_ref: snapshotRefOf(request),
      options: JSON.stringify(optionsOf(request)),
      secrets: hasSecrets ? box.seal(JSON.stringify(request.secrets), contextOf(id)) : null,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

export function findBuild(db: Kysely<Database>, id: string): Promise<BuildRow | undefined> {
  return db.selectFrom('builds').selectAll().where('id', '=', id).executeTakeFirst();
}

/** Ids of builds that have not ended and belong to a process. */
export async function goingBuilds(db: Kysely<Database>, instanceId: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select b.id from builds b
    left join snapshots on snapshots.id = b.snapshot_id
    left join sandboxes on sandboxes.id = b.sandbox_id
    where b.outcome is null and coalesce(snapshots.owner_id, sandboxes.owner_id) = ${instanceId}`.execute(db);
  return rows.map(({ id }) => id);
}

/** What the engine is told of a build. */
export function definitionOf(row: BuildRow, box: Pick<SecretBox, 'open'>, limits: BuildLimits): BuildDefinition {
  const options: BuildOptions = row.options;
  return {
    id: row.id,
    organizationId: row.organization_id,
    dockerfile: row.dockerfile,
    contexts: row.context_hashes,
    target: options.target,
    buildArgs: new Map(Object.entries(options.buildArgs ?? {})),
    secrets: secretsOf(row, box),
    noCache: options.noCache ?? false,
    cacheMaxAgeSeconds: options.cacheMaxAgeSeconds,
    limits,
  };
}

/** The build has ended, and its secrets with it. False when it had ended before. */
export async function endBuild(
  trx: Transaction<Database>,
  id: string,
  end: { outcome: NonNullable<BuildRow['outcome']>; failure?: object },
): Promise<boolean> {
  const now = new Date();
  const ended = await trx
    .updateTable('builds')
    .set({
      outcome: end.outcome,
      failure: end.failure === undefined ? null : JSON.stringify(end.failure),
      secrets: null,
      finished_at: now,
      updated_at: now,
    })
    .where('id', '=', id)
    .where('outcome', 'is', null)
    .executeTakeFirst();
  return ended.numUpdatedRows > 0n;
}

function optionsOf({ target, buildArgs, noCache, cacheMaxAgeSeconds }: BuildRequest): BuildOptions {
  return {
    ...(target === undefined ? {} : { target }),
    ...(Object.keys(buildArgs).length === 0 ? {} : { buildArgs }),
    ...(noCache ? { noCache } : {}),
    ...(cacheMaxAgeSeconds === undefined ? {} : { cacheMaxAgeSeconds }),
  };
}

/** Values by id; none after the end of the build. */
export function secretsOf(row: Pick<BuildRow, 'id' | 'secrets'>, box: Pick<SecretBox, 'open'>): Map<string, string> {
  if (row.secrets === null) return new Map();
  const values: unknown = JSON.parse(box.open(row.secrets, contextOf(row.id)));
  return new Map(Object.entries(values ?? {}).map(([id, value]) => [id, String(value)]));
}

const contextOf = (id: string) => `build:${id}`;
