import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { conflict, type DarkroomError } from '../platform/errors.ts';
import { type IdFile, readIdFile, writeIdFileIfRoom } from '../platform/id-file.ts';

/**
 * A pool has an id, in a file of its own, and the state directory notes it. So a pool whose disk is not mounted, or whose image is lost, is missed:
 * an empty one made in its place would take everything that rows name for lost, and hide what is there.
 */
const FILE = 'pool-id';

/** Raises where the state directory knows of a pool, and this is another one or none. */
export async function assertSamePool(stateDir: string, root: string): Promise<void> {
  const noted = await readNote(stateDir);
  if (noted === undefined) return;
  const found = await readIdFile(markerIn(root));
  if (found === noted) return;
  throw otherPool(stateDir, root, found === undefined ? 'nothing there says which pool it is' : `it is pool ${found}`);
}

/** Raises where the state directory knows of a pool, so that none may be made. */
export async function assertNoPoolIsMissed(stateDir: string, root: string): Promise<void> {
  if ((await readNote(stateDir)) === undefined) return;
  throw otherPool(stateDir, root, 'nothing is mounted there, and there is no image');
}

/** Names a pool that has no id yet, and notes the one that it has. The note is last: it never tells of a pool that is not there. */
export async function notePool(stateDir: string, root: string): Promise<void> {
  const marker = markerIn(root);
  let id = await readIdFile(marker);
  if (id === undefined) {
    id = randomUUID();
    if (!(await writeIdFileIfRoom(marker, id))) return;
  }
  if ((await readNote(stateDir)) === undefined) await writeIdFileIfRoom(noteIn(stateDir), id);
}

const readNote = (stateDir: string) => readIdFile(noteIn(stateDir));

const noteIn = (stateDir: string): IdFile => ({
  path: join(stateDir, FILE),
  what: 'the id of a pool',
  hint: 'Restore the file, or remove it: then the pool that is found is noted anew.',
});

const markerIn = (root: string): IdFile => ({
  path: join(root, FILE),
  what: 'the id of a pool',
  hint: `Restore the file, or remove it together with the one beside ${root}: then the pool gets a new id.`,
});

function otherPool(stateDir: string, root: string, why: string): DarkroomError {
  return conflict(`${root} is not the pool that this state directory had: ${why}`, {
    hint: `Mount its disk at ${root}, or put ${join(stateDir, 'pool.img')} back. To go on without what it has, for good, remove ${join(stateDir, FILE)}; the pool that is there, or a new one, is taken then.`,
  });
}
