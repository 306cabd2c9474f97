import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../platform/errors.ts';
import { imageOf } from './container/disk/disk-image.ts';
import { readExt4Size } from './container/disk/ext4-size.ts';

/**
 * What is wrong with what a stopped sandbox keeps, for a person; what a start puts right by itself is nothing. Undefined when nothing is. Raises when it
 * could not be looked at.
 */
export function sandboxFilesFault(poolRoot: string, id: string): string | undefined {
  const directory = join(poolRoot, 'sandboxes', id);
  const image = imageOf(directory);
  if (!isThere(directory)) return 'its directory is gone';
  if (!isThere(image)) {
    return isThere(join(directory, 'upper')) ? undefined : 'neither a disk nor files are in its directory';
  }
  try {
    return readExt4Size(image) === undefined ? 'its disk holds no ext4' : undefined;
  } catch (error) {
    // Of the disk, and not of this process.
    if (!['EIO', 'EUCLEAN', 'EBADMSG', 'EISDIR'].includes(errnoOf(error) ?? '')) throw error;
    return `its disk cannot be read: ${messageOf(error)}`;
  }
}

/** Where the disk does not answer, nobody knows. */
const isThere = (path: string) => lstatSync(path, { throwIfNoEntry: false }) !== undefined;
