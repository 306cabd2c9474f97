import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, realpath, rm, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { conflict, DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import { waitForFileLock } from '../platform/file-lock.ts';
import { unmount } from '../platform/libc.ts';
import { lockStateDir } from '../platform/state-lock.ts';
import { mountAt, readMounts } from './mount-info.ts';
import { growPoolImage } from './pool-growth.ts';
import { assertNoPoolIsMissed, assertSamePool, notePool } from './pool-id.ts';
import { isMountOfImage, makePoolImage, mountPoolImage, temporaryPrefix } from './pool-image.ts';
import { canReflink, fileSystemOf, REFLINK_LITTER } from './reflink.ts';

/** One file system with reflinks for layers and sandboxes. */
export interface Pool {
  /** Has `layers/`, `sandboxes/` and `tmp/`, between which a rename is atomic. */
  root: string;
  /** `image` is a sparse XFS file of Darkroom's own, mounted by loop. */
  kind: 'directory' | 'image';
  fileSystem: string;
  reflink: boolean;
}

export interface PoolOptions {
  stateDir: string;
  /** Most that an image may take; 80 % of the free disk by default. An image grows to it, never shrinks; a directory has no limit. */
  maxBytes?: number | undefined;
}

/** Layers hold setuid programs and other people's files: users of the host get no way in. */
const SUBDIRECTORIES = { layers: 0o700, sandboxes: 0o711, tmp: 0o700 };
/** Others clone too (an overlay over XFS passes it through), but overlayfs cannot write to them. */
const OVERLAY_UPPERS = new Set(['xfs', 'btrfs']);
const LOCK_TIMEOUT_MS = 60_000;

/**
 * Finds or makes the pool of a state directory, in the mount namespace of the caller, where it outlives the caller. Any number
 * of calls, also of other processes at the same time, end with the same one mount. A killed call leaves what the next goes on from.
 * Raises `insufficient_storage`, `conflict` (the image is in use elsewhere, or the pool is not the one from before) or `unavailable` (no loop devices, no XFS).
 */
export async function ensurePool(options: PoolOptions): Promise<Pool> {
  await mkdir(options.stateDir, { recursive: true, mode: 0o711 });
  // The kernel's tables have canonical paths.
  const stateDir = await realpath(options.stateDir);
  return withPoolLock(stateDir, async () => {
    await sweepLitter(stateDir);
    const root = join(stateDir, 'pool');
    await makeDirectory(root, 0o711);
    const kind = await provide(stateDir, root, options.maxBytes);
    if (kind === 'image' && options.maxBytes !== undefined) await growMounted(stateDir, root, options.maxBytes);
    await chmod(root, 0o711);
    for (const [name, mode] of Object.entries(SUBDIRECTORIES)) await makeDirectory(join(root, name), mode);
    const reflink = await reflinksIn(join(root, 'tmp'));
    await notePool(stateDir, root);
    return { root, kind, fileSystem: await fileSystemOf(root), reflink };
  });
}

/** Unmounts the pool of a state directory in which no server runs; its loop device goes with it. Data stays in the image. Idempotent. */
export async function detachPool(stateDir: string): Promise<void> {
  if (!existsSync(stateDir)) return;
  const directory = await realpath(stateDir);
  const server = lockStateDir(directory);
  try {
    await withPoolLock(directory, async () => {
      const root = join(directory, 'pool');
      while (mountAt(await readMounts(), root) !== undefined) unmountPool(root);
    });
  } finally {
    server.release();
  }
}

/** Whether the pool of a state directory is mounted here. One that is a plain directory never is. */
export async function isPoolMounted(stateDir: string): Promise<boolean> {
  if (!existsSync(stateDir)) return false;
  return mountAt(await readMounts(), join(await realpath(stateDir), 'pool')) !== undefined;
}

/** Bytes that can still be written: an image is sparse, so the disk below it may be the first to be full. */
export async function poolFreeBytes(pool: Pool): Promise<number> {
  const inside = await freeBytes(pool.root);
  return pool.kind === 'image' ? Math.min(inside, await freeBytes(dirname(pool.root))) : inside;
}

/** Whether a plain directory here would do as a pool. */
export async function holdsPoolDirectory(directory: string): Promise<boolean> {
  return OVERLAY_UPPERS.has(await fileSystemOf(directory)) && (await reflinksIn(directory));
}

async function provide(stateDir: string, root: string, maxBytes: number | undefined): Promise<Pool['kind']> {
  const image = join(stateDir, 'pool.img');
  const mounted = mountAt(await readMounts(), root);
  if (mounted !== undefined) {
    const kind = (await isMountOfImage(mounted, image)) ? 'image' : 'directory';
    await assertSamePool(stateDir, root);
    return kind;
  }
  if (!existsSync(image)) {
    if (await holdsPoolDirectory(root)) {
      await assertSamePool(stateDir, root);
      return 'directory';
    }
    if (existsSync(join(root, 'layers'))) throw lostReflinks(root);
    await assertNoPoolIsMissed(stateDir, root);
    await makePoolImage(image, maxBytes);
  }
  await mountPoolImage(image, root);
  try {
    await assertSamePool(stateDir, root);
  } catch (error) {
    // Else the right image could not be put in its place.
    unmountPool(root);
    throw error;
  }
  return 'image';
}

async function growMounted(stateDir: string, root: string, maxBytes: number): Promise<void> {
  const mounted = mountAt(await readMounts(), root);
  if (mounted !== undefined) await growPoolImage(join(stateDir, 'pool.img'), mounted.source, root, maxBytes);
}

/** A full disk must not keep a server from starting, and deleting: it says nothing against reflinks. */
async function reflinksIn(directory: string): Promise<boolean> {
  try {
    return await canReflink(directory);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOSPC') return true;
    throw new DarkroomError('unavailable', `${directory} cannot be written: ${messageOf(cause)}`, {
      hint: 'The kernel log (`dmesg`) says what happened to the disk.',
      cause,
    });
  }
}

async function withPoolLock<T>(stateDir: string, work: () => Promise<T>): Promise<T> {
  const lock = await waitForFileLock(join(stateDir, 'pool.lock'), LOCK_TIMEOUT_MS);
  if (lock === undefined) throw conflict(`another process has been preparing the pool of ${stateDir} for too long`);
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/** What calls left that were killed in the middle. Nobody else is in the middle: the lock is ours. */
async function sweepLitter(stateDir: string): Promise<void> {
  const root = join(stateDir, 'pool');
  const prefixes = new Map([
    [stateDir, basename(temporaryPrefix(join(stateDir, 'pool.img')))],
    [root, REFLINK_LITTER],
    [join(root, 'tmp'), REFLINK_LITTER],
  ]);
  for (const [directory, prefix] of prefixes) {
    if (!existsSync(directory)) continue;
    const litter = (await readdir(directory)).filter((name) => name.startsWith(prefix));
    for (const name of litter) await rm(join(directory, name), { recursive: true, force: true });
  }
}

async function makeDirectory(path: string, mode: number): Promise<void> {
  const made = await mkdir(path, { recursive: true });
  if (made !== undefined) await chmod(path, mode);
}

function unmountPool(root: string): void {
  try {
    unmount(root);
  } catch (cause) {
    throw conflict(`the pool ${root} cannot be unmounted: ${messageOf(cause)}`, {
      hint: 'Something still uses it: a running sandbox, a server, a shell in it.',
      cause,
    });
  }
}

function lostReflinks(root: string): DarkroomError {
  return conflict(`${root} holds a pool, but its file system has no reflinks`, {
    hint: 'Move it back to XFS or btrfs, or move it away to begin with an empty pool.',
  });
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
