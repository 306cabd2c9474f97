import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../platform/errors.ts';
import { imageOf } from './container/disk/disk-image.ts';
import { readExt4Size } from './container/disk/ext4-size.ts';

/** What is wrong with what a stopped sandbox keeps, for a person; what a start puts right by itself is nothing. Undefined when nothing is. */
export function sandboxFilesFault(poolRoot: string, id: string): string | undefined {
  const directory = join(poolRoot, 'sandboxes', id);
  const image = imageOf(directory);
  if (!existsSync(directory)) return 'its directory is gone';
  if (!existsSync(image)) {
    return existsSync(join(directory, 'upper')) ? undefined : 'neither a disk nor files are in its directory';
  }
  try {
    return readExt4Size(image) === undefined ? 'its disk holds no ext4' : undefined;
  } catch (error) {
    return `its disk cannot be read: ${messageOf(error)}`;
  }
}
