import { closeSync, constants, openSync } from 'node:fs';
import { errnoOf } from '../../../platform/errors.ts';
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, mount } from '../../../platform/libc.ts';
import { O_PATH } from '../../../platform/libc-files.ts';
import { locate } from '../container-root.ts';

const VIRTUAL = ['/proc', '/sys', '/dev'];

/**
 * What gVisor shows there nobody outside can see: file calls find them empty and cannot write, where they would leave files in
 * the snapshot's own directories that the sandbox never sees.
 */
export function coverVirtualFiles(rootfs: string): void {
  const root = openSync(rootfs, O_PATH | constants.O_DIRECTORY);
  try {
    for (const path of VIRTUAL) cover(root, path);
  } finally {
    closeSync(root);
  }
}

/** By its descriptor: in an image it may be a link to anywhere. */
function cover(root: number, path: string): void {
  let place: number;
  try {
    place = locate(root, path, constants.O_DIRECTORY);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return;
    throw error;
  }
  try {
    const flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    mount('tmpfs', `/proc/self/fd/${place}`, 'tmpfs', flags, 'size=4k,nr_inodes=2,mode=755');
  } finally {
    closeSync(place);
  }
}
