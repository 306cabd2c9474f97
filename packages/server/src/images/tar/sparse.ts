import { decimal, numberField } from './fields.ts';
import { MAX_META_BYTES, TarFormatError } from './types.ts';

/** A run of data in a sparse file; everything between runs is a hole. */
export interface Segment {
  offset: number;
  length: number;
}

/** Runs ascend, stay inside the file, and together are what the archive holds. */
export function checkSegments(segments: readonly Segment[], realSize: number, storedSize: number): void {
  let end = 0;
  let stored = 0;
  for (const { offset, length } of segments) {
    if (offset < end || !Number.isSafeInteger(offset + length)) {
      throw new TarFormatError('the map of a sparse file is out of order');
    }
    end = offset + length;
    stored += length;
  }
  if (end > realSize) throw new TarFormatError('the map of a sparse file goes past its end');
  if (stored !== storedSize) throw new TarFormatError('the map of a sparse file does not fit its data');
}

/** Formats 0.0 and 0.1: `offset,length,offset,length,…`. */
export function parseCommaMap(text: string): Segment[] {
  const numbers = text === '' ? [] : text.split(',').map((part) => decimal(part, 'the map of a sparse file'));
  return pairs(numbers);
}

/**
 * Format 1.0: the map stands before the data, as lines of decimals, their count first, filled up to a block. Says for each
 * block whether the map is whole with it.
 */
export function createLineMap(): { add(block: Buffer): Segment[] | undefined } {
  const blocks: Buffer[] = [];
  let lines = 0;
  let expected: number | undefined;
  return {
    add(block) {
      blocks.push(Buffer.from(block));
      if (blocks.length * 512 > MAX_META_BYTES) throw new TarFormatError('the map of a sparse file is too long');
      for (let at = block.indexOf(0x0a); at !== -1; at = block.indexOf(0x0a, at + 1)) lines++;
      if (lines === 0) return undefined;
      expected ??= 1 + 2 * decimal(firstLine(Buffer.concat(blocks)), 'the map of a sparse file');
      if (lines < expected) return undefined;
      const text = Buffer.concat(blocks).toString('latin1').split('\n');
      return pairs(text.slice(1, expected).map((line) => decimal(line, 'the map of a sparse file')));
    },
  };
}

function firstLine(bytes: Buffer): string {
  return bytes.toString('latin1', 0, bytes.indexOf(0x0a));
}

function pairs(numbers: readonly number[]): Segment[] {
  if (numbers.length % 2 !== 0) throw new TarFormatError('the map of a sparse file is incomplete');
  const segments: Segment[] = [];
  for (let at = 0; at < numbers.length; at += 2) {
    segments.push({ offset: numbers[at] ?? 0, length: numbers[at + 1] ?? 0 });
  }
  return segments;
}

/** The old GNU format: four runs in the header, and 21 in each block that follows. */
export function oldGnuSegments(block: Buffer, kind: 'header' | 'extension'): { segments: Segment[]; more: boolean } {
  const [start, count, flagAt] = kind === 'header' ? [386, 4, 482] : [0, 21, 504];
  const segments: Segment[] = [];
  for (let index = 0; index < count; index++) {
    const at = start + index * 24;
    // An unused slot ends the list.
    if (block[at] === 0 && block[at + 12] === 0) break;
    const offset = numberField(block, at, 12, 'sparse offset');
    const length = numberField(block, at + 12, 12, 'sparse length');
    if (offset < 0 || length < 0) throw new TarFormatError('the map of a sparse file has a negative number');
    segments.push({ offset, length });
  }
  return { segments, more: block[flagAt] !== 0 };
}

export function oldGnuRealSize(block: Buffer): number {
  const size = numberField(block, 483, 12, 'sparse size');
  if (size < 0) throw new TarFormatError('a sparse file has a negative size');
  return size;
}
