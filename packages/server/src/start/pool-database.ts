import { join } from 'node:path';
import type { Kysely } from 'kysely';
import { lookUpDatabaseId, readDatabaseId } from '../platform/db/database-id.ts';
import { migrate } from '../platform/db/migrate.ts';
import type { Database } from '../platform/db/schema.ts';
import { conflict, type DarkroomError } from '../platform/errors.ts';
import { type IdFile, readIdFile, writeIdFileIfRoom } from '../platform/id-file.ts';

/**
 * Migrates the database that a pool belongs to. The pool says which one that is: to any other all that it has, and what runs, would be nobody's, and be
 * removed. A wrong one is refused before anything is written into it, where it can be told.
 */
export async function migrateDatabaseOfPool(db: Kysely<Database>, poolRoot: string): Promise<void> {
  const file = databaseIdIn(poolRoot);
  const belongsTo = await readIdFile(file);
  if (belongsTo !== undefined) {
    const found = await lookUpDatabaseId(db);
    if (found.is === 'empty') throw otherDatabase(poolRoot, 'it is empty');
    if (found.is === 'named') assertSame(poolRoot, belongsTo, found.id);
  }
  await migrate(db);
  const id = await readDatabaseId(db);
  if (belongsTo === undefined) await writeIdFileIfRoom(file, id);
  else assertSame(poolRoot, belongsTo, id);
}

const databaseIdIn = (poolRoot: string): IdFile => ({
  path: join(poolRoot, 'database-id'),
  what: 'the id of a database',
  hint: 'Restore the file, or remove it when this is the right database: then it is noted anew.',
});

function assertSame(poolRoot: string, belongsTo: string, found: string): void {
  if (found !== belongsTo) throw otherDatabase(poolRoot, `it is ${found}, and the pool belongs to ${belongsTo}`);
}

function otherDatabase(poolRoot: string, why: string): DarkroomError {
  const { path } = databaseIdIn(poolRoot);
  return conflict(`the database is not the one that the pool ${poolRoot} belongs to: ${why}`, {
    hint: `Look at database.url (DATABASE_URL), or restore the database; any backup of the right one will do. To go on with this one, remove ${path} (\`darkroom up\` leaves the pool mounted): layers, sandboxes and uploads that it does not know of are removed then.`,
  });
}
