import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError } from '../../../platform/errors.ts';
import { readMounts } from '../../mount-info.ts';
import type { RuntimeLog } from '../container-host.ts';
import { type Layout, sandboxPaths } from '../layout.ts';
import { unmountQuietly } from '../overlay.ts';
import { cloneTemplate, imageOf, mountDisk, waitDetached } from './disk-image.ts';
import { createDiskTemplates, MIN_DISK_BYTES } from './disk-template.ts';
import { BLOCK_SIZE, readExt4Size } from './ext4-size.ts';
import { growRunning, prepareStopped } from './grow-disk.ts';

/** Sandboxes with a disk of their own: an ext4 in a sparse file of the pool, mounted by loop. */
export interface SandboxDisks {
  /** Puts an empty disk of this size into a directory that is being made. */
  make(directory: string, bytes: number): Promise<void>;
  /** Grows it where `bytes` asks for more, and mounts it in our namespace until `unmount`. */
  mount(id: string, bytes: number): Promise<MountedDisk>;
  /** Resolves when an ended sandbox has no loop device any more. */
  detached(id: string): Promise<void>;
  /** Grows the disk of a running sandbox. */
  grow(id: string, bytes: number): Promise<void>;
  /** Mounts the disk of a running sandbox a second time, for as long as `use` takes: the same file system, to resize or freeze it. */
  withMounted<T>(id: string, use: (root: string) => Promise<T>): Promise<T>;
  /** Of one that does not run; undefined when it has no disk of its own. */
  sizeOfStopped(id: string): { totalBytes: number; freeBytes: number } | undefined;
}

export interface MountedDisk {
  upper: string;
  work: string;
  unmount(): void;
}

/** Sizes are multiples of what everything below is aligned to. */
export function diskSize(bytes: number): number {
  return Math.max(MIN_DISK_BYTES, Math.ceil(bytes / BLOCK_SIZE) * BLOCK_SIZE);
}

export function hasDisk(directory: string): boolean {
  return existsSync(imageOf(directory));
}

export async function openSandboxDisks(layout: Layout, idBase: number, log: RuntimeLog): Promise<SandboxDisks> {
  const mountsDir = join(layout.runDir, 'disks');
  await mkdir(mountsDir, { recursive: true, mode: 0o700 });
  // Of a server that was killed in the middle of a start, where its mounts did not vanish with it.
  for (const { target } of await readMounts()) if (target.startsWith(`${mountsDir}/`)) unmountQuietly(target);
  const templates = createDiskTemplates({
    directory: join(layout.poolRoot, 'runtime', 'disks'),
    scratch: layout.trashDir,
    idBase,
  });
  const directoryOf = (id: string) => sandboxPaths(layout, id).dir;

  function mountSomewhere(id: string): { root: string; unmount: () => void } {
    const root = join(mountsDir, `${id}-${randomBytes(4).toString('hex')}`);
    mkdirSync(root, { mode: 0o700 });
    const unmount = () => {
      unmountQuietly(root);
      rmdirSync(root);
    };
    try {
      mountDisk(directoryOf(id), root);
    } catch (error) {
      rmdirSync(root);
      throw error;
    }
    return { root, unmount };
  }

  const disks: SandboxDisks = {
    async make(directory, bytes) {
      cloneTemplate(await templates.get(diskSize(bytes)), directory);
    },
    async mount(id, bytes) {
      await disks.detached(id);
      await prepareStopped(directoryOf(id), diskSize(bytes));
      const { root, unmount } = mountSomewhere(id);
      return { upper: join(root, 'upper'), work: join(root, 'work'), unmount };
    },
    async detached(id) {
      if (!hasDisk(directoryOf(id)) || (await waitDetached(directoryOf(id)))) return;
      log.warn({ sandbox: id }, 'the disk of an ended sandbox is still in use');
      throw new DarkroomError('unavailable', `the disk of sandbox ${id} is still being written`, {
        retryable: true,
        hint: 'The disk of the machine is slow, or a process outside looks into the sandbox.',
      });
    },
    grow: (id, bytes) => disks.withMounted(id, (root) => growRunning(directoryOf(id), root, diskSize(bytes))),
    async withMounted(id, use) {
      const { root, unmount } = mountSomewhere(id);
      try {
        return await use(root);
      } finally {
        unmount();
      }
    },
    sizeOfStopped(id) {
      const directory = directoryOf(id);
      return hasDisk(directory) ? readExt4Size(imageOf(directory)) : undefined;
    },
  };
  return disks;
}
