import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Darkroom } from './darkroom.ts';

/** What only time does otherwise is done in the server's embedded database. */
export async function inDatabaseOf({ stateDir }: Darkroom, statement: string, values: unknown[]): Promise<void> {
  const postmaster = (await readFile(join(stateDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n');
  const client = new Client({ host: postmaster[4] ?? '', user: 'darkroom', database: 'postgres' });
  await client.connect();
  try {
    await client.query(statement, values);
  } finally {
    await client.end();
  }
}
