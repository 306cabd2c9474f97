import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { linkHash, newLinkToken } from './preview-tokens.ts';

const DEFAULT_SECONDS = 60;
const MAX_SECONDS = 24 * 60 * 60;
/** Live ones of one sandbox: so many people do not look at one, and a loop that went wrong ends here. */
const MAX_LINKS = 1_000;

export interface SignedLink {
  token: string;
  expiresAt: Date;
}

export async function makeLink(
  db: Kysely<Database>,
  sandboxId: string,
  port: number,
  seconds = DEFAULT_SECONDS,
): Promise<SignedLink> {
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > MAX_SECONDS) {
    throw invalidRequest(`expiresInSeconds must be a whole number from 1 to ${MAX_SECONDS} (24 hours)`);
  }
  const token = newLinkToken();
  await sql`delete from preview_links where sandbox_id = ${sandboxId} and expires_at <= now()`.execute(db);
  const { rows } = await sql<{ expires_at: Date }>`
    insert into preview_links (hash, sandbox_id, port, expires_at)
    select ${linkHash(token)}, ${sandboxId}, ${port}, now() + make_interval(secs => ${seconds})
    where (select count(*) from preview_links where sandbox_id = ${sandboxId}) < ${MAX_LINKS}
    returning expires_at
  `.execute(db);
  const [row] = rows;
  if (row === undefined) {
    throw new DarkroomError('rate_limited', `The sandbox has ${MAX_LINKS} signed preview URLs that are still valid`, {
      hint: 'Expire some of them, or ask for ones that are valid for a shorter time.',
      retryable: true,
    });
  }
  return { token, expiresAt: row.expires_at };
}

/** False when there is none, or it has expired by itself. */
export async function deleteLink(
  db: Kysely<Database>,
  sandboxId: string,
  port: number,
  token: string,
): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom('preview_links')
    .where('hash', '=', linkHash(token))
    .where('sandbox_id', '=', sandboxId)
    .where('port', '=', port)
    .executeTakeFirst();
  return numDeletedRows > 0n;
}

/** The sandbox that a link leads to. */
export async function sandboxOfLink(db: Kysely<Database>, token: string, port: number): Promise<string | undefined> {
  const row = await db
    .selectFrom('preview_links')
    .select('sandbox_id')
    .where('hash', '=', linkHash(token))
    .where('port', '=', port)
    .where('expires_at', '>', sql<Date>`now()`)
    .executeTakeFirst();
  return row?.sandbox_id;
}
