import { join } from 'node:path';
import { sql } from 'kysely';
import { moveSandbox } from '../../lifecycle/move.ts';
import { isContainerId } from '../../runtime/container/layout.ts';
import { sandboxFilesFault } from '../../runtime/sandbox-files-fault.ts';
import { FSCK } from '../actor.ts';
import { isLeft } from '../age.ts';
import type { Check, Finding, Scene } from '../types.ts';
import { namesIn, removeTree } from './temporary-files.ts';

interface Row {
  id: string;
  name: string;
  state: string;
}

/** A sandbox that is at rest has its files, and all files are of a sandbox. */
export const sandboxFiles: Check = {
  name: 'sandbox-files',
  title: 'files of sandboxes',
  async *find(scene) {
    // Directories first: a fork has files before it has a row, but a start has the row first or is too young to be looked at.
    const names = await namesIn(directoryOf(scene));
    const { rows } = await sql<Row>`
      select id, name, state from sandboxes
      where coalesce(runner_id, ${scene.runnerId}) = ${scene.runnerId} and state <> 'destroyed'`.execute(scene.db);
    const known = new Map(rows.map((row) => [row.id, row]));
    for (const name of names) {
      if (known.has(name) || !(await isLeft(scene, join(directoryOf(scene), name)))) continue;
      yield {
        kind: 'sandbox-files-of-nobody',
        id: name,
        where: join(directoryOf(scene), name),
        problem: 'no sandbox has these files',
        repair: { does: 'remove them', run: () => removeUnknown(scene, name) },
      } satisfies Finding;
    }
    for (const row of rows) {
      if (row.state !== 'stopped') continue;
      const problem = sandboxFilesFault(scene.poolRoot, row.id);
      if (problem === undefined || !(await isStill(scene, row))) continue;
      yield {
        kind: 'sandbox-files',
        id: row.id,
        where: `sandbox ${row.name}`,
        problem,
        repair: { does: 'mark it as failed', run: () => sayLost(scene, row, problem) },
      } satisfies Finding;
    }
  },
};

const directoryOf = ({ poolRoot }: Scene) => join(poolRoot, 'sandboxes');

async function isStill({ db }: Scene, { id, state }: Row): Promise<boolean> {
  const row = await db.selectFrom('sandboxes').select('state').where('id', '=', id).executeTakeFirst();
  return row?.state === state;
}

async function removeUnknown(scene: Scene, name: string): Promise<string | undefined> {
  const { rows } = await sql`select from sandboxes where id::text = ${name} and state <> 'destroyed'`.execute(scene.db);
  if (rows.length > 0 || !(await isLeft(scene, join(directoryOf(scene), name)))) return undefined;
  // The next start of the server ends what runs and is nobody's.
  if ((await scene.containers.list()).some(({ id, running }) => id === name && running)) return undefined;
  if (isContainerId(name)) await scene.containers.remove(name);
  else await removeTree(join(directoryOf(scene), name), scene.signal);
  return 'removed';
}

async function sayLost({ db, poolRoot }: Scene, { id }: Row, problem: string): Promise<string | undefined> {
  if (sandboxFilesFault(poolRoot, id) === undefined) return undefined;
  const moved = await moveSandbox(db, id, {
    from: ['stopped'],
    to: 'error',
    actor: FSCK,
    reason: `What it wrote is not on the disk as it was: ${problem}. Delete it; only a backup of the state directory has its files.`,
    errorCode: 'unavailable',
  });
  return moved === undefined ? undefined : 'marked as failed';
}
