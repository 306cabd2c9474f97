import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';

/** A connection to the embedded database of a running server, for as long as `use` takes. */
export async function withDatabase<T>(stateDir: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const inState = join(stateDir, 'postgres-socket');
  const key = createHash('sha256').update(stateDir).digest('hex').slice(0, 12);
  const host = existsSync(inState) ? inState : join('/run/darkroom', `postgres-${key}`);
  const client = new pg.Client({ host, user: 'darkroom', database: 'postgres' });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
