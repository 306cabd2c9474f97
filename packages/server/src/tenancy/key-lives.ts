import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

/** Whether a key that was good is so still: nobody took it away, and it has not expired. */
export async function keyLives(db: Kysely<Database>, keyId: string): Promise<boolean> {
  const row = await db.selectFrom('api_keys').select('expires_at').where('id', '=', keyId).executeTakeFirst();
  return row !== undefined && (row.expires_at === null || row.expires_at.getTime() > Date.now());
}
