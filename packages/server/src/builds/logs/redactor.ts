import { secretPatterns } from './secret-patterns.ts';

const MASK = Buffer.from('***');

export interface RedactedStream {
  /** What can be passed on; the beginning of what may become a secret is held back. */
  push(bytes: Uint8Array): Uint8Array;
  end(): Uint8Array;
}

export interface Redactor {
  /** For bytes that come in pieces: a secret is found wherever they are cut. */
  stream(): RedactedStream;
  text(text: string): string;
}

/**
 * Takes secrets out of what is stored or shown. Values of less than four bytes are not looked for, nor what a program makes of a
 * value beyond the forms of `secret-patterns.ts`.
 */
export function createRedactor(secretValues: Iterable<string>): Redactor {
  const patterns = secretPatterns(secretValues);
  if (patterns.length === 0) {
    return { stream: () => ({ push: (bytes) => bytes, end: () => new Uint8Array() }), text: (text) => text };
  }
  const find = createFinder(patterns);
  return {
    stream: () => createStream(find),
    text: (text) => Buffer.from(createStream(find).replaceAll(Buffer.from(text))).toString(),
  };
}

interface Found {
  start: number;
  /** Undefined: the data may be the beginning of a pattern from here on. */
  end: number | undefined;
}

type Find = (data: Buffer, from: number, isLast: boolean) => Found | undefined;

function createStream(find: Find): RedactedStream & { replaceAll(data: Buffer): Buffer } {
  let held: Buffer = Buffer.alloc(0);

  function replace(data: Buffer, isLast: boolean): Buffer {
    held = Buffer.alloc(0);
    const pieces: Buffer[] = [];
    for (let at = 0; at < data.length; ) {
      const found = find(data, at, isLast);
      pieces.push(data.subarray(at, found?.start));
      if (found === undefined) break;
      if (found.end === undefined) {
        held = Buffer.from(data.subarray(found.start));
        break;
      }
      pieces.push(MASK);
      at = found.end;
    }
    const [only] = pieces;
    return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
  }

  return {
    push: (bytes) => {
      const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return replace(held.length === 0 ? data : Buffer.concat([held, data]), false);
    },
    end: () => replace(held, true),
    replaceAll: (data) => replace(data, true),
  };
}

/** Looks for the first of the patterns, and the longest where several begin; each has four bytes at least, by which it is noticed. */
function createFinder(patterns: readonly Buffer[]): Find {
  const byKey = new Map<number, Buffer[]>();
  const mayBegin = new Uint8Array(1 << 16);
  const beginnings = new Set<string>();
  for (const pattern of [...patterns].sort((a, b) => b.length - a.length)) {
    const key = pattern.readInt32LE(0);
    byKey.set(key, [...(byKey.get(key) ?? []), pattern]);
    mayBegin[hashOf(key)] = 1;
    for (const length of [1, 2, 3]) beginnings.add(pattern.toString('latin1', 0, length));
  }

  function at(data: Buffer, start: number, key: number, isLast: boolean): Found | undefined {
    for (const pattern of byKey.get(key) ?? []) {
      const length = Math.min(pattern.length, data.length - start);
      if (data.compare(pattern, 0, length, start, start + length) !== 0) continue;
      if (length === pattern.length) return { start, end: start + length };
      if (!isLast) return { start, end: undefined };
    }
    return undefined;
  }

  return (data, from, isLast) => {
    let key = 0;
    for (let index = from; index < data.length; index += 1) {
      key = (key >>> 8) | ((data[index] ?? 0) << 24);
      if (index - from < 3 || mayBegin[hashOf(key)] === 0) continue;
      const found = at(data, index - 3, key, isLast);
      if (found !== undefined) return found;
    }
    if (isLast) return undefined;
    for (let start = Math.max(from, data.length - 3); start < data.length; start += 1) {
      if (beginnings.has(data.toString('latin1', start))) return { start, end: undefined };
    }
    return undefined;
  };
}

const hashOf = (key: number) => Math.imul(key, 0x9e3779b1) >>> 16;
