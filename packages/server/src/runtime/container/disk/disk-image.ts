import { closeSync, constants, copyFileSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DarkroomError, errnoOf, undefinedIfMissing } from '../../../platform/errors.ts';
import { MS_NOATIME, MS_NODEV, MS_NOSUID, tryLockFile } from '../../../platform/libc.ts';
import { attachLoop, deviceNode, holdLoop, type LoopAttachment, mountDevice } from '../../../platform/libc-block.ts';
import { BLOCK_SIZE } from './ext4-size.ts';

/** A sandbox's directory holds these two: its disk, and the number of the loop device that was last over it. */
export const imageOf = (directory: string) => join(directory, 'disk.img');
const numberOf = (directory: string) => join(directory, 'loop');

/** Writing back what a sandbox left unwritten is part of its end, and a disk may be slow. */
const DETACH_TIMEOUT_MS = 30_000;
const DETACH_POLL_MS = 5;

/**
 * discard: what is deleted inside goes back to the pool. noinit_itable: no thread of the kernel that zeroes what is zero.
 * errors=remount-ro: when the pool below cannot take a write, nothing is made worse; the next start mounts it anew.
 */
const MOUNT_OPTIONS = 'discard,noinit_itable,errors=remount-ro';

export function cloneTemplate(template: string, directory: string): void {
  copyFileSync(template, imageOf(directory), constants.COPYFILE_FICLONE_FORCE);
}

/**
 * Mounts the disk of a directory; its loop device goes with the last mount. Two devices over one image would destroy it: the
 * number of the first is written down before it is made, and what is still attached is waited for or used again.
 */
export async function mountDisk(directory: string, target: string): Promise<void> {
  const device = holdAttached(directory) ?? (await attach(directory));
  try {
    const flags = MS_NOATIME | MS_NOSUID | MS_NODEV;
    await mountDevice(deviceNode(device.number), target, 'ext4', flags, MOUNT_OPTIONS);
  } finally {
    closeSync(device.fd);
  }
}

async function attach(directory: string): Promise<LoopAttachment> {
  const image = openSync(imageOf(directory), 'r+');
  try {
    await lockImage(image);
    return await attachLoop(image, BLOCK_SIZE, (number) => writeFileSync(numberOf(directory), String(number)));
  } catch (cause) {
    if (cause instanceof DarkroomError) throw cause;
    const missing = ['ENOENT', 'ENXIO', 'EPERM', 'EACCES'].includes(errnoOf(cause) ?? '');
    throw new DarkroomError('unavailable', 'no loop device could be made for the disk of a sandbox', {
      hint: missing
        ? 'Load the module (`modprobe loop`), or in a container pass /dev/loop-control and the loop devices in. `runtime.diskLimits: false` does without.'
        : 'The kernel log (`dmesg`) may say why.',
      cause,
    });
  } finally {
    closeSync(image);
  }
}

/**
 * The lock belongs to the open file, which the loop device keeps: while one is over the image, or a tool of a killed server
 * works on it, nobody attaches a second one.
 */
async function lockImage(image: number): Promise<void> {
  for (const deadline = performance.now() + DETACH_TIMEOUT_MS; !tryLockFile(image); ) {
    if (performance.now() > deadline) throw diskInUse();
    await sleep(DETACH_POLL_MS);
  }
}

export function diskInUse(): DarkroomError {
  return new DarkroomError('unavailable', 'the disk of the sandbox is in use by another process', {
    retryable: true,
    hint: 'A check of it that an earlier server began may still run: look for e2fsck and resize2fs.',
  });
}

/** The loop device over this disk, held so that it stays; undefined when there is none. */
export function holdAttached(directory: string): LoopAttachment | undefined {
  let number: number;
  try {
    number = Number(readFileSync(numberOf(directory), 'utf8'));
  } catch (error) {
    return undefinedIfMissing(error);
  }
  const fd = holdLoop(number, statSync(imageOf(directory)));
  return fd === undefined ? undefined : { number, fd };
}

/** Resolves when no loop device is over the disk any more: everything of it is written. False when it takes too long. */
export async function waitDetached(directory: string): Promise<boolean> {
  const deadline = performance.now() + DETACH_TIMEOUT_MS;
  for (;;) {
    const held = holdIfThere(directory);
    if (held === undefined) return true;
    // Our own look must not be what keeps it.
    closeSync(held.fd);
    if (performance.now() > deadline) return false;
    await sleep(DETACH_POLL_MS);
  }
}

function holdIfThere(directory: string): LoopAttachment | undefined {
  try {
    return holdAttached(directory);
  } catch (error) {
    // It was removed meanwhile, and its device goes by itself.
    return undefinedIfMissing(error);
  }
}

/** Never shorter: what lies behind the end of the file would be lost. */
export async function extendImage(directory: string, bytes: number): Promise<void> {
  const image = imageOf(directory);
  if ((await stat(image)).size >= bytes) return;
  const file = await open(image, 'r+');
  try {
    await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}
