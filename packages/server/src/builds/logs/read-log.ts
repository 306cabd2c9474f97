import type { FileHandle } from 'node:fs/promises';
import type { ChangeSignal } from '../../platform/change-signal.ts';
import type { LogLine } from './build-log.ts';
import { openIfThere, placeNear, readAt } from './log-file.ts';
import { decodeRecord, MAX_RECORD_BYTES } from './log-record.ts';

const LINE_FEED = 0x0a;
/** Who waits for the next lines gets few at a time; who catches up reads on in large blocks. */
const SMALL_BYTES = 8 * 1024;
const LARGE_BYTES = 2 * MAX_RECORD_BYTES;

export interface LogSource {
  path: string;
  changes: ChangeSignal;
  /** Nothing is written any more. */
  isOver(): boolean;
}

/** Reads with a descriptor and at a pace of its own; between two blocks it holds nothing but its place. */
export async function* readLog(
  source: LogSource,
  { from, follow, signal }: { from: number; follow: boolean; signal: AbortSignal },
): AsyncGenerator<LogLine[]> {
  let handle: FileHandle | undefined;
  let place: number | undefined;
  try {
    while (!signal.aborted) {
      const { version } = source.changes;
      const isOver = source.isOver();
      handle ??= await openIfThere(source.path);
      if (handle !== undefined) {
        place ??= await placeNear(handle, from);
        for (let bytes = SMALL_BYTES; !signal.aborted; ) {
          const block = await readBlock(handle, place, bytes);
          place = block.next;
          const lines = block.lines.filter(({ index }) => index >= from);
          if (lines.length > 0) yield lines;
          if (block.isEnd) return;
          if (!block.isFilled) break;
          bytes = LARGE_BYTES;
        }
      }
      if (!follow || isOver) return;
      await source.changes.changedSince(version, signal);
    }
  } finally {
    await handle?.close();
  }
}

interface Block {
  lines: LogLine[];
  /** Behind the last whole record. */
  next: number;
  isFilled: boolean;
  isEnd: boolean;
}

async function readBlock(handle: FileHandle, place: number, bytes: number): Promise<Block> {
  const data = await readAt(handle, place, bytes);
  const length = data.lastIndexOf(LINE_FEED) + 1;
  const isFilled = data.length === bytes;
  if (length === 0 && isFilled && bytes < LARGE_BYTES) return readBlock(handle, place, LARGE_BYTES);
  const block: Block = { lines: [], next: place + length, isFilled: isFilled && length > 0, isEnd: false };
  for (const record of data.toString('utf8', 0, length).split('\n')) {
    const line = record === '' ? undefined : decodeRecord(record);
    if (line === 'end') return { ...block, isEnd: true };
    if (line !== undefined) block.lines.push(line);
  }
  return block;
}
