import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DarkroomError, errnoOf, undefinedIfMissing } from '../errors.ts';

const POLL_MS = 50;

/**
 * Waits for the PostgreSQL of an earlier server to end: it is told to when its server dies, but takes a moment. A lock
 * file whose process is gone, or whose number now belongs to some other program, is removed.
 */
export async function waitForPredecessor(dataDir: string, socketDir: string, waitMs: number): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const pid = await readLockedPid(dataDir);
    if (pid === undefined) break;
    if (!(await runsIn(pid, dataDir))) {
      await rm(join(dataDir, 'postmaster.pid'), { force: true });
      break;
    }
    if (performance.now() >= deadline) {
      throw new DarkroomError('conflict', `the database in ${dataDir} is in use by process ${pid}`, {
        hint: 'Another Darkroom runs with this state directory. Stop it, or choose another state directory.',
      });
    }
    await delay(POLL_MS);
  }
  // Nothing runs in this data directory, so nothing listens in its socket directory.
  for (const name of ['.s.PGSQL.5432', '.s.PGSQL.5432.lock']) await rm(join(socketDir, name), { force: true });
}

async function readLockedPid(dataDir: string): Promise<number | undefined> {
  const text = await readFile(join(dataDir, 'postmaster.pid'), 'utf8').catch(undefinedIfMissing);
  const pid = Number.parseInt(text ?? '', 10);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

/** A postmaster works in its data directory; comparing inodes holds through bind mounts. */
async function runsIn(pid: number, dataDir: string): Promise<boolean> {
  try {
    const [theirs, ours] = await Promise.all([stat(`/proc/${pid}/cwd`), stat(dataDir)]);
    return theirs.dev === ours.dev && theirs.ino === ours.ino;
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}
