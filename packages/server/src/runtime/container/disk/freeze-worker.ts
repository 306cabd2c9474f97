import { accessSync, closeSync, constants, fsyncSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { errnoOf, messageOf } from '../../../platform/errors.ts';
import { failpointSync } from '../../../platform/failpoints.ts';
import { syncfs } from '../../../platform/libc.ts';
import { fsFreezeOpen } from '../../../platform/libc-block.ts';
import { cloneFile } from '../../../platform/libc-copy.ts';
import { startThawGuard } from '../thaw-guard.ts';

export interface FreezeJob {
  id: number;
  /** A directory of the mounted disk. */
  root: string;
  image: string;
  /** New files that the image is cloned to. */
  targets: readonly string[];
  /** Is there while the disk may be frozen. */
  marker: string;
}

export type FreezeAnswer = { id: number; pausedMs: number } | { id: number; failed: string; errno: string | undefined };

/** What is written while a write-back runs is less each time, unless something writes without end. */
const MAX_SYNCS = 8;
const SHORT_SYNC_MS = 8;
const MAX_SYNCS_MS = 15_000;
/** Cloning takes milliseconds. Whoever takes this long is stopped, or waits for a disk that is lost. */
const MAX_FROZEN_SECONDS = 10;

/**
 * All of it in one stretch of a thread of its own: whoever writes to a frozen disk waits for the thaw, and that may be the
 * server's own thread, or all those that its file calls go through.
 */
function cloneFrozen({ root, image, targets, marker }: FreezeJob): number {
  const open: number[] = [];
  const opened = (fd: number) => {
    open.push(fd);
    return fd;
  };
  try {
    const disk = opened(openSync(root, 'r'));
    const from = opened(openSync(image, 'r'));
    const clones = targets.map((target) => opened(openSync(target, 'wx+', 0o600)));
    const [first, ...others] = clones;
    if (first === undefined) return 0;
    writeBack(disk);
    const pausedMs = marked(marker, () =>
      frozen(disk, () => {
        failpointSync('capture.frozen');
        clone(from, first);
        failpointSync('capture.cloned');
      }),
    );
    // However many are wanted, who writes to the disk waits for one.
    for (const other of others) clone(first, other);
    for (const each of clones) fsyncSync(each);
    return pausedMs;
  } finally {
    for (const fd of open) closeSync(fd);
  }
}

function clone(from: number, to: number): void {
  if (!cloneFile(from, to)) throw new Error('the pool cannot clone files');
}

function writeBack(disk: number): void {
  const began = performance.now();
  for (let syncs = 0; syncs < MAX_SYNCS && performance.now() - began < MAX_SYNCS_MS; syncs += 1) {
    const before = performance.now();
    syncfs(disk);
    if (performance.now() - before < SHORT_SYNC_MS) return;
  }
}

function marked<T>(marker: string, work: () => T): T {
  writeFileSync(marker, '');
  let mayBeFrozen = false;
  try {
    failpointSync('capture.marked');
    const result = work();
    failpointSync('capture.thawed');
    return result;
  } catch (error) {
    mayBeFrozen = error instanceof StillFrozen;
    throw error;
  } finally {
    // Else the next server thaws it, if nothing does before.
    if (!mayBeFrozen) rmSync(marker, { force: true });
  }
}

/** Somebody else must thaw it. */
class StillFrozen extends Error {
  override readonly name = 'StillFrozen';
}

/** For how many milliseconds it was. Whatever becomes of this process, it does not stay so. */
function frozen(disk: number, work: () => void): number {
  const hurries = canHurry();
  const undo = hurries ? `echo 0 > ${EXPEDITED}; ` : '';
  const guard = startThawGuard({
    fd: disk,
    withinSeconds: MAX_FROZEN_SECONDS,
    thaw: `${undo}exec fsfreeze --unfreeze /proc/self/fd/3`,
  });
  let mayBeFrozen = false;
  try {
    // The guard is there before anything is that it would have to undo.
    if (hurries) setHurry(true);
    const began = performance.now();
    freeze(disk);
    try {
      work();
    } finally {
      thaw(disk);
    }
    return performance.now() - began;
  } catch (error) {
    mayBeFrozen = error instanceof StillFrozen;
    throw error;
  } finally {
    if (hurries) setHurry(false);
    if (mayBeFrozen) guard.act();
    else guard.end();
  }
}

function freeze(disk: number): void {
  try {
    fsFreezeOpen(disk, true);
  } catch (cause) {
    // One that could not be thawed before.
    if (errnoOf(cause) === 'EBUSY') throw new StillFrozen('it still stands still for an earlier copy', { cause });
    throw cause;
  }
}

function thaw(disk: number): void {
  try {
    failpointSync('capture.thawing');
    fsFreezeOpen(disk, false);
  } catch (cause) {
    if (errnoOf(cause) !== 'EINVAL') throw new StillFrozen(`it could not be thawed: ${messageOf(cause)}`, { cause });
    // Then the copy may have some of what was written after it.
    throw new Error(`it would have stood still for more than ${MAX_FROZEN_SECONDS} s`);
  }
}

const EXPEDITED = '/sys/kernel/rcu_expedited';

/**
 * To freeze, the kernel waits three times until it knows that no processor is in the middle of a write, twice of them with writers already
 * held back. That took 10 ms each time, nearly all of the pause, and with processors that are asked instead of waited for, well under one.
 * For the whole machine, so it is for these milliseconds only. Where it may not be written, the pause is longer.
 */
function canHurry(): boolean {
  try {
    accessSync(EXPEDITED, constants.W_OK);
    return readFileSync(EXPEDITED, 'utf8').trim() === '0';
  } catch {
    return false;
  }
}

function setHurry(hurry: boolean): void {
  try {
    writeFileSync(EXPEDITED, hurry ? '1' : '0');
  } catch {
    // Then the pause is longer.
  }
}

parentPort?.on('message', (job: FreezeJob) => {
  const answer = (message: FreezeAnswer) => parentPort?.postMessage(message);
  try {
    answer({ id: job.id, pausedMs: cloneFrozen(job) });
  } catch (error) {
    answer({ id: job.id, failed: messageOf(error), errno: errnoOf(error) });
  }
});
