import { run } from '../../packages/server/src/platform/process.ts';
import type { Darkroom } from './darkroom.ts';
import { withDatabase } from './database.ts';

/** Files below the state directory that have the text anywhere in their bytes; the pool as an image file counts as one. */
export async function filesWith({ stateDir }: Darkroom, text: string): Promise<string[]> {
  // Sockets, and files that go while it looks, are no matter. Its «lines» end with zero bytes, of which the pool has many.
  const { stdout } = await run('grep', ['-rlaFz', '--devices=skip', text, stateDir], {
    timeoutMs: 90_000,
    okCodes: [0, 1, 2],
  });
  return stdout.split('\n').filter(Boolean);
}

/** Every row of every table of a running server's database, as JSON. */
export function databaseDump({ stateDir }: Darkroom): Promise<string> {
  return withDatabase(stateDir, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables
       where schemaname not in ('pg_catalog', 'information_schema')`,
    );
    let dump = '';
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`select row_to_json(t)::text as row from ${name} t`);
      dump += rows.map(({ row }) => `${name} ${row}\n`).join('');
    }
    return dump;
  });
}
