import { findBytes } from './find-bytes.ts';

const MAX_PIECE = 1024 * 1024;

/** Chunks of a file with each occurrence of a text replaced, from left to right; what was put in is not looked at again. */
export async function* replaced(
  chunks: AsyncIterable<Buffer>,
  pattern: Buffer,
  replacement: Buffer,
): AsyncGenerator<Buffer> {
  const find = findBytes(pattern);
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const pieces: Buffer[] = [];
    let from = 0;
    let length = 0;
    for (let hit = find(bytes); hit !== -1; hit = find(bytes, from)) {
      pieces.push(bytes.subarray(from, hit), replacement);
      length += hit - from + replacement.length;
      from = hit + pattern.length;
      // A letter may become a megabyte, and a chunk has many letters.
      if (length < MAX_PIECE) continue;
      yield Buffer.concat(pieces.splice(0));
      length = 0;
    }
    // The last bytes may be the beginning of an occurrence.
    const cut = Math.max(from, bytes.length - pattern.length + 1);
    pieces.push(bytes.subarray(from, cut));
    rest = bytes.subarray(cut);
    yield Buffer.concat(pieces);
  }
  if (rest.length > 0) yield rest;
}
