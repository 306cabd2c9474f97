import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readFile, rename, rm, statfs } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { conflict, DarkroomError, errnoOf, invalidRequest, messageOf, undefinedIfMissing } from '../platform/errors.ts';
import { MS_NOATIME, MS_NODEV, MS_NOSUID, mount } from '../platform/libc.ts';
import { run } from '../platform/process.ts';
import { syncDirectory } from '../platform/sync-directory.ts';
import { attachLoopDevice, detachWhenUnused, type LoopDevice, loopDevicesOver } from './loop-devices.ts';
import type { MountEntry } from './mount-info.ts';

const MIB = 1024 * 1024;
const MKFS_TIMEOUT_MS = 60_000;
/** XFS itself refuses less than 300 MB, and its log takes 64 of them. */
export const MIN_POOL_BYTES = 512 * MIB;
/** Of the free disk. The image is sparse: the rest is for the database and for what others write meanwhile. */
const DEFAULT_SHARE = 0.8;
/** Direct I/O must be aligned to the sectors of the disk below, and those are at most this. */
const SECTOR_SIZE = 4096;

/** Makes the image, complete and synced, or leaves at most a temporary file that the next call sweeps. */
export async function makePoolImage(image: string, maxBytes: number | undefined): Promise<void> {
  const bytes = await imageSize(dirname(image), maxBytes);
  // A name of its own: the mkfs of a killed call may live on for a moment, and must not meet this one's file.
  const temporary = `${temporaryPrefix(image)}${randomUUID()}`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.truncate(bytes);
      // Reserves the log's blocks in the sparse file, so that a full disk cannot tear the log.
      await run('mkfs.xfs', ['-q', '-f', '-s', `size=${SECTOR_SIZE}`, '-m', 'crc=1,reflink=1', temporary], {
        timeoutMs: MKFS_TIMEOUT_MS,
      });
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, image);
    await syncDirectory(dirname(image));
  } catch (cause) {
    await rm(temporary, { force: true });
    const code = errnoOf(cause) === 'ENOSPC' ? 'insufficient_storage' : 'unavailable';
    throw new DarkroomError(code, `the pool's image could not be made: ${messageOf(cause)}`, {
      hint: 'Install xfsprogs, or put the state directory on XFS or btrfs with reflinks.',
      cause,
    });
  }
}

/** Mounts the image over `root`. Takes the loop device that is over it already; never makes a second. */
export async function mountPoolImage(image: string, root: string): Promise<void> {
  const existing = await onlyLoopDevice(image);
  const device = existing?.name ?? (await attachLoopDevice(image, SECTOR_SIZE));
  try {
    // discard: deleting gives the disk's blocks back at once, for a fifth more time of the deletion.
    // nosuid, nodev: users of the host get nothing from a layer's files; an overlay mount has flags of its own.
    mount(device, root, 'xfs', MS_NOATIME | MS_NOSUID | MS_NODEV, 'discard,nouuid');
  } catch (cause) {
    throw new DarkroomError('unavailable', `the pool ${image} cannot be mounted: ${messageOf(cause)}`, {
      hint: hintForMount(errnoOf(cause), device),
      cause,
    });
  } finally {
    await detachWhenUnused(device);
  }
}

/** Whether the mount over the pool's root is our image. Raises `conflict` for one that would lose or mix data. */
export async function isMountOfImage(entry: MountEntry, image: string): Promise<boolean> {
  if ((await backingFile(entry.source)) === `${image} (deleted)`) {
    throw conflict(`the pool that is mounted at ${entry.target} lies in an image file that was deleted`, {
      hint: `What it holds is lost with the next reboot. Copy it away, then \`umount ${entry.target}\`.`,
    });
  }
  if (!existsSync(image)) return false;
  const device = await onlyLoopDevice(image);
  if (device?.name !== entry.source) {
    throw conflict(`${entry.target} has ${entry.source} mounted, and there is also ${image}`, {
      hint: `Keep one: \`umount ${entry.target}\`, or move the image away.`,
    });
  }
  // A server that was killed right after mounting left the device to us.
  if (!device.autoclear) await detachWhenUnused(device.name);
  return true;
}

export function temporaryPrefix(image: string): string {
  return `${image}.new-`;
}

async function onlyLoopDevice(image: string): Promise<LoopDevice | undefined> {
  const devices = await loopDevicesOver(image);
  const [device, ...others] = devices;
  if (device === undefined) return undefined;
  if (others.length === 0 && device.offset === 0 && device.sizelimit === 0 && !device.ro) return device;
  throw conflict(`${image} is in use by ${devices.map(({ name }) => name).join(', ')}`, {
    hint: `Two mounts of one image destroy it, so this one is not made. Unmount what uses it (\`losetup --list\`), then \`losetup --detach\`.`,
  });
}

async function imageSize(directory: string, maxBytes: number | undefined): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  const wanted = maxBytes ?? free * DEFAULT_SHARE;
  if (maxBytes !== undefined && maxBytes < MIN_POOL_BYTES) {
    throw invalidRequest(`pool.maxBytes must be at least ${MIN_POOL_BYTES} (512 MiB), it is ${maxBytes}`);
  }
  if (wanted < MIN_POOL_BYTES || wanted > free) {
    const needed = Math.round(Math.max(wanted, MIN_POOL_BYTES / DEFAULT_SHARE) / MIB);
    throw new DarkroomError(
      'insufficient_storage',
      `${directory} has ${Math.floor(free / MIB)} MiB free; the pool needs ${needed} MiB`,
      { hint: 'Free some disk, set pool.maxBytes, or choose another directory with --state-dir.' },
    );
  }
  return Math.floor(wanted / MIB) * MIB;
}

async function backingFile(device: string): Promise<string | undefined> {
  if (!device.startsWith('/dev/loop')) return undefined;
  const text = await readFile(`/sys/block/${basename(device)}/loop/backing_file`, 'utf8').catch(undefinedIfMissing);
  return text?.trimEnd();
}

function hintForMount(errno: string | undefined, device: string): string {
  if (errno === 'ENODEV') return 'The kernel has no XFS: `modprobe xfs`, or put the state directory on btrfs.';
  if (errno === 'EPERM' || errno === 'EACCES') return 'Mounting needs root with CAP_SYS_ADMIN.';
  return `The kernel's log (\`dmesg\`) says why. With ${device} attached, \`xfs_repair\` may mend it.`;
}
