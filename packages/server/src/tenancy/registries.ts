import { randomUUID } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import type { CredentialLookup } from '../images/types.ts';
import type { Database, RegistryTable } from '../platform/db/schema.ts';
import { invalidRequest, notFound } from '../platform/errors.ts';
import type { SecretBox } from '../platform/secrets.ts';
import { registryHost } from './registry-host.ts';

export type RegistryRow = Selectable<RegistryTable>;

const MAX_REGISTRIES = 100;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export interface RegistryDeps {
  db: Kysely<Database>;
  secrets: SecretBox;
}

export interface NewRegistry {
  name: string;
  url: string;
  username: string;
  password: string;
  project: string | undefined;
}

export type RegistryChange = { [K in keyof NewRegistry]?: NewRegistry[K] | undefined };

export async function createRegistry(
  { db, secrets }: RegistryDeps,
  organizationId: string,
  wanted: NewRegistry,
): Promise<RegistryRow> {
  registryHost(wanted.url);
  return db.transaction().execute(async (trx) => {
    await trx
      .selectFrom('organizations')
      .select('id')
      .where('id', '=', organizationId)
      .forNoKeyUpdate()
      .executeTakeFirst();
    const { count } = await trx
      .selectFrom('registries')
      .select((query) => query.fn.countAll<number>().as('count'))
      .where('organization_id', '=', organizationId)
      .executeTakeFirstOrThrow();
    if (count >= MAX_REGISTRIES) {
      throw invalidRequest(`Registry quota exceeded. Maximum allowed: ${MAX_REGISTRIES}`);
    }
    const id = randomUUID();
    return trx
      .insertInto('registries')
      .values({
        id,
        organization_id: organizationId,
        name: wanted.name,
        url: wanted.url,
        username: wanted.username,
        password_encrypted: secrets.seal(wanted.password, id),
        project: wanted.project ?? '',
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  });
}

export async function listRegistries(db: Kysely<Database>, organizationId: string): Promise<RegistryRow[]> {
  return db
    .selectFrom('registries')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .orderBy('created_at', 'desc')
    .orderBy('id')
    .execute();
}

export async function getRegistry(db: Kysely<Database>, organizationId: string, id: string): Promise<RegistryRow> {
  const row = UUID.test(id)
    ? await db
        .selectFrom('registries')
        .selectAll()
        .where('id', '=', id)
        .where('organization_id', '=', organizationId)
        .executeTakeFirst()
    : undefined;
  if (row === undefined) throw notFound(`Docker registry with ID ${id} not found`);
  return row;
}

export async function updateRegistry(
  { db, secrets }: RegistryDeps,
  organizationId: string,
  id: string,
  change: RegistryChange,
): Promise<RegistryRow> {
  const { url } = await getRegistry(db, organizationId, id);
  const { password, ...columns } = change;
  // Who may change an entry need not know its password, and must not be able to have it sent to a host of their own.
  if (change.url !== undefined && registryHost(change.url) !== registryHost(url) && password === undefined) {
    throw invalidRequest('Another host needs the password again: send it together with the url');
  }
  const row = await db
    .updateTable('registries')
    .set({
      ...columns,
      ...(password === undefined ? {} : { password_encrypted: secrets.seal(password, id) }),
      updated_at: new Date(),
    })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw notFound(`Docker registry with ID ${id} not found`);
  return row;
}

export async function deleteRegistry(db: Kysely<Database>, organizationId: string, id: string): Promise<void> {
  await getRegistry(db, organizationId, id);
  await db.deleteFrom('registries').where('id', '=', id).execute();
}

/** What a pull of the organization says to a registry. The newest entry of a host wins. */
export function credentialsFor({ db, secrets }: RegistryDeps, organizationId: string): CredentialLookup {
  return async (host) => {
    const rows = await listRegistries(db, organizationId);
    const row = rows.find((candidate) => registryHost(candidate.url) === host);
    return row === undefined
      ? undefined
      : { username: row.username, password: secrets.open(row.password_encrypted, row.id) };
  };
}
