import { constants } from 'node:fs';
import { copyFile, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../platform/errors.ts';

const FILE_SYSTEMS = new Map([
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0xef53, 'ext4'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlay'],
  [0x2fc12fc1, 'zfs'],
  [0x6969, 'nfs'],
]);

/** What lies at a path, by its magic number in statfs(2). */
export async function fileSystemOf(path: string): Promise<string> {
  const { type } = await statfs(path);
  return FILE_SYSTEMS.get(type) ?? `0x${type.toString(16)}`;
}

/** How the names begin of what a killed `canReflink` leaves. */
export const REFLINK_LITTER = '.reflink-';

/** Whether files in this directory can share blocks, by really cloning one. Leaves nothing behind. */
export async function canReflink(directory: string): Promise<boolean> {
  const probe = await mkdtemp(join(directory, REFLINK_LITTER));
  try {
    await writeFile(join(probe, 'a'), Buffer.alloc(4096, 1));
    await copyFile(join(probe, 'a'), join(probe, 'b'), constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (error) {
    if (NO_CLONE.has(errnoOf(error) ?? '')) return false;
    throw error;
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}

const NO_CLONE = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENOTTY', 'ENOSYS', 'EINVAL', 'EXDEV']);
