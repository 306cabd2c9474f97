import { fstatSync, readSync, writeSync } from 'node:fs';
import { cloneFile, copyFileRange } from '../../platform/libc-copy.ts';

/** Below this a copy is quicker than the bookkeeping of shared blocks. */
const CLONE_FROM_BYTES = 64n * 1024n;
/** Between two looks at whether the call was cancelled. */
const STEP_BYTES = 16 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;

const chunk = Buffer.allocUnsafe(CHUNK_BYTES);

export function isWorthSharing(size: bigint): boolean {
  return size >= CLONE_FROM_BYTES;
}

/** Copies all bytes of one open file into another, empty one; large ones share their blocks where the file system can do that. */
export function copyData(from: number, to: number, size: bigint, check: () => void): void {
  if (isWorthSharing(size)) {
    if (cloneFile(from, to)) return;
    check();
    for (;;) {
      const copied = copyFileRange(from, to, STEP_BYTES);
      if (copied === undefined) break;
      check();
      // Nothing at once may also mean a kernel that cannot do it for this file system.
      if (copied === 0) {
        if (fstatSync(to, { bigint: true }).size >= size) return;
        break;
      }
    }
  }
  copyByHand(from, to, check);
}

/** Goes on where both files stand. */
function copyByHand(from: number, to: number, check: () => void): void {
  for (;;) {
    const read = readSync(from, chunk, 0, chunk.length, null);
    if (read === 0) return;
    for (let done = 0; done < read; ) done += writeSync(to, chunk, done, read - done, null);
    check();
  }
}
