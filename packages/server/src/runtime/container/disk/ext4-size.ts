import { closeSync, openSync, readSync } from 'node:fs';

export const BLOCK_SIZE = 4096;
const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_SIZE = 1024;
const MAGIC = 0xef53;
const STATE_ERRORS = 2;
const INCOMPAT_RECOVER = 4;

export interface Ext4Size {
  totalBytes: number;
  freeBytes: number;
  /** The kernel met something wrong: an error of the disk below, mostly. */
  hasErrors: boolean;
  /** It was not unmounted: its journal has what the rest of it lacks. */
  needsReplay: boolean;
}

/** What an image that is not mounted says of itself (ext4's superblock); undefined when it holds no ext4. */
export function readExt4Size(image: string): Ext4Size | undefined {
  const block = Buffer.alloc(SUPERBLOCK_SIZE);
  const fd = openSync(image, 'r');
  try {
    if (readSync(fd, block, 0, SUPERBLOCK_SIZE, SUPERBLOCK_OFFSET) < SUPERBLOCK_SIZE) return undefined;
  } finally {
    closeSync(fd);
  }
  if (block.readUInt16LE(0x38) !== MAGIC) return undefined;
  const blockSize = 1024 << block.readUInt32LE(0x18);
  const blocks = block.readUInt32LE(0x04) + block.readUInt32LE(0x150) * 2 ** 32;
  const free = block.readUInt32LE(0x0c) + block.readUInt32LE(0x158) * 2 ** 32;
  const hasErrors = (block.readUInt16LE(0x3a) & STATE_ERRORS) !== 0;
  const needsReplay = (block.readUInt32LE(0x60) & INCOMPAT_RECOVER) !== 0;
  return { totalBytes: blocks * blockSize, freeBytes: free * blockSize, hasErrors, needsReplay };
}
