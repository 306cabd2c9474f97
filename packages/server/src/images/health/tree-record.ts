import { closeSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { TreeEntry } from './walk-tree.ts';

/**
 * What a layer's files were when it was made, in a file beside its record: blocks of lines, each block with its length in front, the last with
 * the number of entries. It can be read from front to back beside a walk of the tree, whatever its size.
 */
const FILE = 'tree';
const BLOCK_CHARS = 512 * 1024;
const MAX_BLOCK_BYTES = 16 * 1024 * 1024;

/** Of the layer whose `diff` directory this is. */
export function treeRecordPath(diffDirectory: string): string {
  return join(dirname(diffDirectory), FILE);
}

/** Writes the record whole or not at all; `sync`: also for a power cut. */
export function writeTreeRecord(path: string, entries: Iterable<TreeEntry>, { sync }: { sync: boolean }): void {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    let lines: string[] = [];
    let chars = 0;
    let count = 0;
    for (const entry of entries) {
      const line = JSON.stringify(entry);
      lines.push(line);
      chars += line.length;
      count += 1;
      if (chars < BLOCK_CHARS) continue;
      writeBlock(fd, lines);
      lines = [];
      chars = 0;
    }
    writeBlock(fd, [...lines, JSON.stringify(['end', count])]);
    if (sync) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
}

function writeBlock(fd: number, lines: readonly string[]): void {
  const bytes = zstdCompressSync(Buffer.from(lines.join('\n'), 'utf8'), {
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  const head = Buffer.alloc(4);
  head.writeUInt32LE(bytes.length);
  for (const part of [head, bytes]) {
    for (let done = 0; done < part.length; ) done += writeSync(fd, part, done);
  }
}

/** By hand: the library for it takes longer to load into a thread than a layer to be compared. */
function isEntry(value: unknown): value is TreeEntry {
  if (!Array.isArray(value) || value.length !== SHAPE.length) return false;
  return SHAPE.every(
    (type, index) => typeof value[index] === type || (index === SHAPE.length - 1 && value[index] === null),
  );
}

const SHAPE = ['string', 'string', 'number', 'number', 'number', 'number', 'string', 'string', 'string', 'number'];

/** The record itself is damaged: it says nothing about the layer. */
export class TreeRecordDamaged extends Error {
  override readonly name = 'TreeRecordDamaged';
}

export function* readTreeRecord(path: string): Generator<TreeEntry> {
  const fd = openSync(path, 'r');
  try {
    let count = 0;
    for (;;) {
      const head = readExactly(fd, 4);
      const length = head.readUInt32LE();
      if (length > MAX_BLOCK_BYTES) throw new TreeRecordDamaged('a block of it is too long');
      for (const line of linesOf(readExactly(fd, length))) {
        const value: unknown = parsed(line);
        if (isEntry(value)) {
          count += 1;
          yield value;
          continue;
        }
        if (Array.isArray(value) && value[0] === 'end' && value[1] === count) return;
        throw new TreeRecordDamaged('a line of it is no entry');
      }
    }
  } finally {
    closeSync(fd);
  }
}

function linesOf(block: Buffer): string[] {
  try {
    return zstdDecompressSync(block, { maxOutputLength: MAX_BLOCK_BYTES }).toString('utf8').split('\n');
  } catch (error) {
    throw new TreeRecordDamaged('a block of it cannot be read', { cause: error });
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new TreeRecordDamaged('a line of it cannot be read', { cause: error });
  }
}

function readExactly(fd: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let have = 0; have < length; ) {
    const count = readSync(fd, bytes, have, length - have, null);
    if (count === 0) throw new TreeRecordDamaged('it ends too early');
    have += count;
  }
  return bytes;
}
