import { sql } from 'kysely';
import type { Check, Finding, Scene } from '../types.ts';

const TABLES = [
  { table: 'ssh_accesses', what: 'SSH access' },
  { table: 'preview_links', what: 'signed link' },
] as const;

/** Tokens that lead to sandboxes which are gone. */
export const accesses: Check = {
  name: 'accesses',
  title: 'SSH accesses and signed links',
  async *find(scene) {
    for (const { table, what } of TABLES) {
      const { rows } = await sql<{ sandbox: string; count: number }>`
        select a.sandbox_id as sandbox, count(*) from ${sql.table(table)} a left join sandboxes s on s.id = a.sandbox_id
        where s.id is null or s.state = 'destroyed' group by 1`.execute(scene.db);
      for (const { sandbox, count } of rows) {
        yield {
          kind: 'access-of-nobody',
          id: sandbox,
          where: table,
          problem: `${count} ${what}${count === 1 ? '' : 's'} of a sandbox that is gone`,
          repair: { does: 'remove what nobody can use', run: () => remove(scene, table, sandbox) },
        } satisfies Finding;
      }
    }
  },
};

async function remove({ db }: Scene, table: string, sandbox: string): Promise<string | undefined> {
  const { numAffectedRows = 0n } = await sql`delete from ${sql.table(table)} a where sandbox_id = ${sandbox}
    and not exists (select from sandboxes s where s.id = a.sandbox_id and s.state <> 'destroyed')`.execute(db);
  return numAffectedRows === 0n ? undefined : `${numAffectedRows} removed`;
}
