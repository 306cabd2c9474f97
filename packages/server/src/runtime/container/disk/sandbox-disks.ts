import { randomBytes } from 'node:crypto';
import { closeSync, constants, copyFileSync, existsSync, mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { mkdir, open, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError, errnoOf, messageOf } from '../../../platform/errors.ts';
import { fsFreeze, shutDownExt4 } from '../../../platform/libc-block.ts';
import { run } from '../../../platform/process.ts';
import { readMounts } from '../../mount-info.ts';
import type { RuntimeLog } from '../container-host.ts';
import { type Layout, sandboxPaths } from '../layout.ts';
import { unmountQuietly } from '../overlay.ts';
import { NEW_SANDBOX_PREFIX } from '../sandbox-dir.ts';
import { createDiskFreezer } from './disk-freezer.ts';
import { cloneTemplate, holdAttached, imageOf, mountDisk, waitDetached } from './disk-image.ts';
import { createDiskStock, type ReadyDisk } from './disk-stock.ts';
import { createDiskTemplates, MIN_DISK_BYTES } from './disk-template.ts';
import { BLOCK_SIZE, type Ext4Size, readExt4Size } from './ext4-size.ts';
import { growRunning, prepareStopped } from './grow-disk.ts';

/** Sandboxes with a disk of their own: an ext4 in a sparse file of the pool, mounted by loop. */
export interface SandboxDisks {
  /** An empty disk of at least this size for a new sandbox. It is the caller's, who moves it into place or discards it. */
  take(bytes: number): Promise<ReadyDisk>;
  discard(disk: ReadyDisk): Promise<void>;
  /** Mounts the disk of a stopped sandbox in our namespace until `unmount`; grown where `bytes` asks for more, mended where it must be. */
  mount(id: string, bytes: number): Promise<MountedDisk>;
  /** Resolves when an ended sandbox has no loop device any more. */
  detached(id: string): Promise<void>;
  /** Grows the disk of a running sandbox. */
  grow(id: string, bytes: number): Promise<void>;
  /** Mounts the disk of a running sandbox a second time, for as long as `use` takes: the same file system, to resize or freeze it. */
  withMounted<T>(id: string, use: (root: string) => Promise<T>): Promise<T>;
  /**
   * Puts a copy of the disk, as it is at one moment, into each of these directories, which the caller has made. Who writes to a
   * running one waits meanwhile, for `pausedMs`. What is copied can be mounted without its journal.
   */
  copy(id: string, directories: readonly string[], options: { running: boolean }): Promise<{ pausedMs: number }>;
  /** Resolves, in bounded time, when a copy that took longer than its caller waited has ended. */
  copied(id: string): Promise<void>;
  /** Begins what makes a copy of a running one take long: writes to its disk what it has only in memory. */
  writeBack(id: string): Promise<void>;
  /** For a running sandbox that is about to be removed: what it has not written yet is never written. */
  abandon(id: string): Promise<void>;
  /** Of one that does not run; undefined when it has no disk of its own. */
  sizeOfStopped(id: string): Ext4Size | undefined;
  /** Gives the stock up. */
  close(): Promise<void>;
}

/** A copy that comes after it does what is left. */
const WRITE_BACK_MS = 30_000;

export interface MountedDisk {
  root: string;
  unmount(): void;
}

export interface SandboxDisksOptions {
  layout: Layout;
  idBase: number;
  /** Disks that are made ahead of time, of each size in use. */
  ready: number;
  log: RuntimeLog;
}

export const upperOf = (root: string) => ({ upper: join(root, 'upper'), work: join(root, 'work') });

/** Sizes are multiples of what everything below is aligned to. */
export function diskSize(bytes: number): number {
  return Math.max(MIN_DISK_BYTES, Math.ceil(bytes / BLOCK_SIZE) * BLOCK_SIZE);
}

export function hasDisk(directory: string): boolean {
  return existsSync(imageOf(directory));
}

export async function openSandboxDisks({ layout, idBase, ready, log }: SandboxDisksOptions): Promise<SandboxDisks> {
  const mountsDir = join(layout.runDir, 'disks');
  await mkdir(mountsDir, { recursive: true, mode: 0o700 });
  await sweepMounts(mountsDir);
  const templates = createDiskTemplates({
    directory: join(layout.poolRoot, 'runtime', 'disks'),
    scratch: layout.trashDir,
    idBase,
  });
  const freezer = createDiskFreezer();
  const markersDir = join(layout.runDir, 'frozen');
  await mkdir(markersDir, { recursive: true, mode: 0o700 });
  const markerOf = (id: string) => join(markersDir, id);
  const directoryOf = (id: string) => sandboxPaths(layout, id).dir;

  async function mountSomewhere(directory: string, name: string): Promise<MountedDisk> {
    const root = join(mountsDir, `${name}-${randomBytes(4).toString('hex')}`);
    mkdirSync(root, { mode: 0o700 });
    try {
      await mountDisk(directory, root);
    } catch (error) {
      rmdirSync(root);
      throw error;
    }
    const unmount = () => {
      unmountQuietly(root);
      rmdirSync(root);
    };
    return { root, unmount };
  }

  async function make(bytes: number): Promise<ReadyDisk> {
    const template = await templates.get(bytes);
    const directory = join(layout.trashDir, `${NEW_SANDBOX_PREFIX}disk-${randomBytes(8).toString('hex')}`);
    mkdirSync(directory, { mode: 0o700 });
    try {
      cloneTemplate(template, directory);
      return { directory, ...(await mountSomewhere(directory, 'ready')) };
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  async function discard(disk: ReadyDisk): Promise<void> {
    disk.unmount();
    await rm(disk.directory, { recursive: true, force: true });
  }

  /** A server that was killed at the wrong moment left it frozen, and what writes to it waits. */
  async function thawLeft(id: string): Promise<void> {
    const held = hasDisk(directoryOf(id)) ? holdAttached(directoryOf(id)) : undefined;
    if (held !== undefined) {
      closeSync(held.fd);
      await disks.withMounted(id, async (root) => {
        try {
          fsFreeze(root, false);
        } catch (error) {
          // It was not frozen, or not any more.
          if (errnoOf(error) !== 'EINVAL') throw error;
        }
      });
    }
    rmSync(markerOf(id), { force: true });
  }

  /** A copy is read without its journal: what that has for it is put in its place first. */
  async function settle(directory: string): Promise<void> {
    const size = readExt4Size(imageOf(directory));
    if (size?.needsReplay === false && !size.hasErrors) return;
    await prepareStopped(directory, 0);
    const { unmount } = await mountSomewhere(directory, 'settle');
    unmount();
    if (!(await waitDetached(directory))) throw stillWritten('a copy');
  }

  async function copyStopped(id: string, directories: readonly string[]): Promise<void> {
    await disks.detached(id);
    // What the journal has is put in its place in the first alone.
    const [first] = directories;
    for (const directory of directories) {
      const from = directory === first || first === undefined ? directoryOf(id) : first;
      copyFileSync(imageOf(from), imageOf(directory), constants.COPYFILE_FICLONE_FORCE);
      await settle(directory);
      const copy = await open(imageOf(directory), 'r+');
      await copy.sync().finally(() => copy.close());
    }
  }

  const stock = createDiskStock({ ready, make, discard, log });
  const disks: SandboxDisks = {
    take: (bytes) => stock.take(diskSize(bytes)),
    discard,
    async mount(id, bytes) {
      await disks.detached(id);
      await prepareStopped(directoryOf(id), diskSize(bytes));
      return mountSomewhere(directoryOf(id), id);
    },
    async detached(id) {
      if (!hasDisk(directoryOf(id)) || (await waitDetached(directoryOf(id)))) return;
      log.warn({ sandbox: id }, 'the disk of an ended sandbox is still in use');
      throw stillWritten(`sandbox ${id}`);
    },
    grow: (id, bytes) => disks.withMounted(id, (root) => growRunning(directoryOf(id), root, diskSize(bytes))),
    async withMounted(id, use) {
      const { root, unmount } = await mountSomewhere(directoryOf(id), id);
      try {
        return await use(root);
      } finally {
        unmount();
      }
    },
    async writeBack(id) {
      freezer.warm();
      await disks.withMounted(id, async (root) => {
        await run('sync', ['--file-system', root], { timeoutMs: WRITE_BACK_MS });
      });
    },
    async copy(id, directories, { running }) {
      if (!running) {
        await copyStopped(id, directories);
        return { pausedMs: 0 };
      }
      const pausedMs = await disks.withMounted(id, (root) =>
        freezer.clone({
          root,
          image: imageOf(directoryOf(id)),
          targets: directories.map(imageOf),
          marker: markerOf(id),
        }),
      );
      for (const directory of directories) await settle(directory);
      return { pausedMs };
    },
    copied: (id) => freezer.settled(markerOf(id)),
    async abandon(id) {
      if (hasDisk(directoryOf(id))) await disks.withMounted(id, async (root) => shutDownExt4(root));
    },
    sizeOfStopped(id) {
      const directory = directoryOf(id);
      return hasDisk(directory) ? readExt4Size(imageOf(directory)) : undefined;
    },
    async close() {
      await freezer.close();
      await stock.close();
    },
  };
  for (const id of await readdir(markersDir)) {
    await thawLeft(id).catch((error: unknown) =>
      log.warn({ sandbox: id, error: messageOf(error) }, 'a disk could not be thawed'),
    );
  }
  return disks;
}

const stillWritten = (whose: string) =>
  new DarkroomError('unavailable', `the disk of ${whose} is still being written`, {
    retryable: true,
    hint: 'The disk of the machine is slow, or a process outside looks into the sandbox.',
  });

/** Of a server that was killed, where its mounts did not vanish with it; the directories stay in any case. */
async function sweepMounts(mountsDir: string): Promise<void> {
  for (const { target } of await readMounts()) if (target.startsWith(`${mountsDir}/`)) unmountQuietly(target);
  for (const name of await readdir(mountsDir)) await rmdir(join(mountsDir, name));
}
