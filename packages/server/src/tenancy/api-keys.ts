import type { Permission } from '@darkroom/contract';
import type { Kysely, Selectable } from 'kysely';
import type { ApiKeyTable, Database } from '../platform/db/schema.ts';
import { isUniqueViolation } from '../platform/db/violations.ts';
import { conflict, DarkroomError, invalidRequest, notFound } from '../platform/errors.ts';
import { generateKey } from './api-key.ts';
import type { AuthContext } from './auth-context.ts';
import type { KeyVerifier } from './key-verifier.ts';

export type ApiKeyRow = Selectable<ApiKeyTable>;

/** Enough for every use; a bound, because each key is a row that others pay for. */
const MAX_KEYS = 1000;

export interface NewApiKey {
  name: string;
  permissions: readonly Permission[];
  expiresAt: Date | undefined;
}

/** Makes a key of the asking user. Its value is in the answer and nowhere else. */
export async function createApiKey(
  db: Kysely<Database>,
  auth: AuthContext,
  wanted: NewApiKey,
): Promise<ApiKeyRow & { value: string }> {
  assertNoMoreThanOwn(auth, wanted.permissions);
  if (wanted.expiresAt !== undefined && wanted.expiresAt <= new Date()) {
    throw invalidRequest('expiresAt must be in the future');
  }
  const { value, ...stored } = generateKey();
  try {
    const row = await db.transaction().execute(async (trx) => {
      await trx
        .selectFrom('organizations')
        .select('id')
        .where('id', '=', auth.organizationId)
        .forNoKeyUpdate()
        .executeTakeFirst();
      const { count } = await trx
        .selectFrom('api_keys')
        .select((query) => query.fn.countAll<number>().as('count'))
        .where('organization_id', '=', auth.organizationId)
        .executeTakeFirstOrThrow();
      if (count >= MAX_KEYS) throw new DarkroomError('quota_exceeded', `An organization may have ${MAX_KEYS} API keys`);
      return trx
        .insertInto('api_keys')
        .values({
          organization_id: auth.organizationId,
          user_id: auth.userId,
          name: wanted.name,
          permissions: [...new Set(wanted.permissions)],
          expires_at: wanted.expiresAt ?? null,
          ...stored,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
    });
    return { ...row, value };
  } catch (error) {
    if (isUniqueViolation(error, 'api_keys_organization_id_user_id_name_key')) {
      throw conflict(`API key with name ${wanted.name} already exists`);
    }
    throw error;
  }
}

/** A key cannot make one that may do what it may not do itself. */
function assertNoMoreThanOwn(auth: AuthContext, permissions: readonly Permission[]): void {
  if (auth.isAdmin) return;
  const missing = permissions.filter((permission) => !auth.permissions.has(permission));
  if (missing.length === 0) return;
  throw new DarkroomError(
    'forbidden',
    `Your API key lacks permissions that the new one would have: ${missing.join(', ')}`,
  );
}

export async function listApiKeys(db: Kysely<Database>, auth: AuthContext): Promise<ApiKeyRow[]> {
  return db
    .selectFrom('api_keys')
    .selectAll()
    .where('organization_id', '=', auth.organizationId)
    .where('user_id', '=', auth.userId)
    .orderBy('created_at', 'desc')
    .execute();
}

export async function getApiKey(db: Kysely<Database>, auth: AuthContext, name: string): Promise<ApiKeyRow> {
  const row = name.includes('\0') ? undefined : await findByName(db, auth, name);
  if (row === undefined) throw notFound(`API key with name ${name} not found`);
  return row;
}

/** The key that the request came with. */
export async function currentApiKey(db: Kysely<Database>, auth: AuthContext): Promise<ApiKeyRow> {
  const row = await db.selectFrom('api_keys').selectAll().where('id', '=', auth.keyId).executeTakeFirst();
  if (row === undefined) throw new DarkroomError('unauthenticated', 'Invalid credentials');
  return row;
}

export async function deleteApiKey(
  { db, keys }: { db: Kysely<Database>; keys: Pick<KeyVerifier, 'forget'> },
  auth: AuthContext,
  name: string,
): Promise<void> {
  const { id } = await getApiKey(db, auth, name);
  await db.deleteFrom('api_keys').where('id', '=', id).execute();
  keys.forget(id);
}

function findByName(db: Kysely<Database>, auth: AuthContext, name: string): Promise<ApiKeyRow | undefined> {
  return db
    .selectFrom('api_keys')
    .selectAll()
    .where('organization_id', '=', auth.organizationId)
    .where('user_id', '=', auth.userId)
    .where('name', '=', name)
    .executeTakeFirst();
}
