import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { errnoOf } from '../platform/errors.ts';
import { layerDiskOf } from './layer-disk.ts';

const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_SIZE = 1024;
const MAGIC = 0xef53;
const STATE_ERRORS = 2;
const INCOMPAT_RECOVER = 4;

/** What the disk of a captured layer says of itself, where that makes no sense; for a person. Undefined when nothing is wrong. */
export function layerDiskFault(layerDirectory: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(layerDiskOf(layerDirectory), 'r');
  } catch (error) {
    if (isOfThisProcess(error)) throw error;
    return `its disk cannot be opened: ${errnoOf(error)}`;
  }
  try {
    const block = Buffer.alloc(SUPERBLOCK_SIZE);
    const read = readSync(fd, block, 0, SUPERBLOCK_SIZE, SUPERBLOCK_OFFSET);
    if (read < SUPERBLOCK_SIZE || block.readUInt16LE(0x38) !== MAGIC) return 'its disk holds no ext4';
    const blocks = block.readUInt32LE(0x04) + block.readUInt32LE(0x150) * 2 ** 32;
    const bytes = blocks * (1024 << block.readUInt32LE(0x18));
    if (fstatSync(fd).size < bytes) return 'its disk ends before its file system does';
    if ((block.readUInt16LE(0x3a) & STATE_ERRORS) !== 0) return 'the file system of its disk has errors';
    // It is mounted without its journal, and nothing ever writes to it.
    if ((block.readUInt32LE(0x60) & INCOMPAT_RECOVER) !== 0) return 'its disk was written to: its journal is not empty';
    return undefined;
  } catch (error) {
    if (isOfThisProcess(error)) throw error;
    return `its disk cannot be read: ${errnoOf(error)}`;
  } finally {
    closeSync(fd);
  }
}

/** It lacks something itself, which says nothing of the disk. */
function isOfThisProcess(error: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR'].includes(errnoOf(error) ?? '');
}
