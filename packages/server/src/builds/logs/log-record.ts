import type { LogLine } from './build-log.ts';

/** Longer texts are cut; what makes lines cuts them to pieces before. */
export const MAX_TEXT = 16 * 1024;
/** A text of lone surrogates takes six bytes for each unit; no record is longer than this. */
export const MAX_RECORD_BYTES = 128 * 1024;
/** Behind the last line of a build that has ended. */
export const END_RECORD = '"end"\n';

const STREAMS = { o: 'stdout', e: 'stderr', n: 'note' } as const;
const LETTERS = { stdout: 'o', stderr: 'e', note: 'n' } as const;

/** One line of JSON. It begins with its index, so that a search need not parse the rest; a raw line feed is nowhere but at its end. */
export function encodeRecord({ index, at, step, stream, text }: LogLine): string {
  return `[${index},${at},${step ?? 'null'},"${LETTERS[stream]}",${JSON.stringify(text)}]\n`;
}

/** Undefined for what is not a whole record. */
export function decodeRecord(record: string): LogLine | 'end' | undefined {
  if (record === '"end"') return 'end';
  let value: unknown;
  try {
    value = JSON.parse(record);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  const [index, at, step, letter, text]: unknown[] = value;
  if (typeof index !== 'number' || typeof at !== 'number' || typeof text !== 'string') return undefined;
  if (letter !== 'o' && letter !== 'e' && letter !== 'n') return undefined;
  return { index, at, step: typeof step === 'number' ? step : undefined, stream: STREAMS[letter], text };
}

/** The index of the record that begins here. */
export function indexOfRecord(start: string): number | undefined {
  const found = /^\[(\d{1,15}),/.exec(start)?.[1];
  return found === undefined ? undefined : Number(found);
}
