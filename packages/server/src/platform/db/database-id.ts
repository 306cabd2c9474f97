import { type Kysely, sql } from 'kysely';
import type { Database } from './schema.ts';

/** How far a database has come: nobody's yet, of a Darkroom that gave no ids, or the one with this id. */
export type DatabaseId = { is: 'empty' } | { is: 'nameless' } | { is: 'named'; id: string };

/** Changes nothing, also where there are no tables. */
export async function lookUpDatabaseId(db: Kysely<Database>): Promise<DatabaseId> {
  const { rows } = await sql<{ migrated: boolean; named: boolean }>`
    select to_regclass('kysely_migration') is not null as migrated, to_regclass('database_identity') is not null as named`.execute(
    db,
  );
  if (rows[0]?.migrated !== true) return { is: 'empty' };
  if (!rows[0].named) return { is: 'nameless' };
  const row = await db.selectFrom('database_identity').select('id').executeTakeFirst();
  return row === undefined ? { is: 'nameless' } : { is: 'named', id: row.id };
}

/** Of a database with this version's tables. It goes with dumps and copies. */
export async function readDatabaseId(db: Kysely<Database>): Promise<string> {
  await sql`insert into database_identity default values on conflict do nothing`.execute(db);
  const { id } = await db.selectFrom('database_identity').select('id').executeTakeFirstOrThrow();
  return id;
}
