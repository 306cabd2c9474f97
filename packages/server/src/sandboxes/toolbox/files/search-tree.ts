import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import type { ContainerFiles, OpenFile, WalkEntry } from '../../../runtime/types.ts';
import { boundedBy, SEARCH_MS } from './bounds.ts';
import { parseGlob } from './glob.ts';
import { TextLines } from './text-lines.ts';

export interface Found<T> {
  found: T[];
  /** There may be more: a bound of number, size or time was met. */
  truncated: boolean;
}

export interface TextMatch {
  file: string;
  line: number;
  content: string;
}

const MAX_FOUND = 10_000;
/** Of all that is found together. */
const MAX_FOUND_LENGTH = 8 * 1024 * 1024;
const CHUNK = 256 * 1024;
/** It is compared with millions of names. */
const MAX_GLOB = 256;
/** A zero byte among the first of a file means that it is no text. */
const BINARY_PROBE = 8192;

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;

/** Absolute paths whose name fits; a pattern with a slash is compared with the path below the directory. */
export function searchNames(
  files: ContainerFiles,
  { path, pattern }: { path: string; pattern: string },
  signal: AbortSignal,
): Promise<Found<string>> {
  if (pattern.length > MAX_GLOB) throw invalidRequest(`a pattern may have up to ${MAX_GLOB} letters`);
  const matches = parseGlob(pattern);
  const wholePath = pattern.includes('/');
  const start = path.replace(/\/+$/, '').length + 1;
  const search = async function* (bounded: AbortSignal) {
    for await (const entry of files.walk(path, { signal: bounded })) {
      const below = entry.path.slice(start);
      if (matches(wholePath ? below : below.slice(below.lastIndexOf('/') + 1))) yield entry.path;
    }
  };
  return collect(signal, search, (found) => found.length);
}

/** Lines that have a text, in a file or in all files of text below a directory. */
export function findText(
  files: ContainerFiles,
  { path, pattern }: { path: string; pattern: string },
  signal: AbortSignal,
): Promise<Found<TextMatch>> {
  const text = Buffer.from(pattern);
  const search = async function* (bounded: AbortSignal): AsyncGenerator<TextMatch> {
    const stat = await files.stat(path);
    const one = { path, open: () => files.open(path, { read: true }) };
    const sources = (stat.mode & S_IFMT) === S_IFDIR ? textFiles(files, path, bounded) : [one];
    for await (const source of sources) {
      for await (const { line, content } of linesOf(source.open, text, bounded)) {
        yield { file: source.path, line, content: content.toString('utf8') };
      }
    }
  };
  return collect(signal, search, ({ file, content }) => file.length + content.length);
}

async function* textFiles(files: ContainerFiles, path: string, signal: AbortSignal): AsyncGenerator<WalkEntry> {
  for await (const entry of files.walk(path, { signal })) {
    if ((entry.stat.mode & S_IFMT) === S_IFREG && entry.stat.size > 0) yield entry;
  }
}

async function* linesOf(open: () => Promise<OpenFile>, text: Buffer, signal: AbortSignal) {
  const file = await open().catch(unreadable);
  if (file === undefined) return;
  try {
    const lines = new TextLines(text);
    for (let position = 0; ; ) {
      signal.throwIfAborted();
      const chunk = await file.read(position, CHUNK);
      if (chunk.length === 0) break;
      if (position === 0 && chunk.subarray(0, BINARY_PROBE).includes(0)) return;
      position += chunk.length;
      yield* lines.push(chunk);
    }
    yield* lines.end();
  } finally {
    await file.close();
  }
}

/** One that is gone or held by a process does not end the search; what is not the sandbox's doing does. */
function unreadable(error: unknown): undefined {
  if (error instanceof DarkroomError && error.isUserError && error.code !== 'unavailable') return undefined;
  throw error;
}

async function collect<T>(
  signal: AbortSignal,
  search: (signal: AbortSignal) => AsyncIterable<T>,
  lengthOf: (item: T) => number,
): Promise<Found<T>> {
  using bounded = boundedBy(signal, SEARCH_MS);
  const found: T[] = [];
  let length = 0;
  try {
    for await (const item of search(bounded.signal)) {
      found.push(item);
      length += lengthOf(item);
      if (found.length === MAX_FOUND || length > MAX_FOUND_LENGTH) return { found, truncated: true };
    }
    return { found, truncated: false };
  } catch (error) {
    if (bounded.timedOut()) return { found, truncated: true };
    throw error;
  }
}
