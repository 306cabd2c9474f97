import { closeSync, fsyncSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { errnoOf, messageOf } from '../../../platform/errors.ts';
import { failpointSync } from '../../../platform/failpoints.ts';
import { syncfs } from '../../../platform/libc.ts';
import { fsFreezeOpen } from '../../../platform/libc-block.ts';
import { cloneFile } from '../../../platform/libc-copy.ts';

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
const MAX_SYNCS = 4;
const SHORT_SYNC_MS = 15;

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
    const clones = targets.map((target) => opened(openSync(target, 'wx', 0o600)));
    for (let syncs = 0; syncs < MAX_SYNCS; syncs += 1) {
      const began = performance.now();
      syncfs(disk);
      if (performance.now() - began < SHORT_SYNC_MS) break;
    }
    writeFileSync(marker, '');
    failpointSync('capture.marked');
    const began = performance.now();
    fsFreezeOpen(disk, true);
    try {
      failpointSync('capture.frozen');
      for (const clone of clones) if (!cloneFile(from, clone)) throw new Error('the pool cannot clone files');
      failpointSync('capture.cloned');
    } finally {
      fsFreezeOpen(disk, false);
    }
    const pausedMs = performance.now() - began;
    failpointSync('capture.thawed');
    rmSync(marker, { force: true });
    for (const clone of clones) fsyncSync(clone);
    return pausedMs;
  } finally {
    for (const fd of open) closeSync(fd);
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
