import { createTarReader } from '../reader.ts';
import type { TarEntry } from '../types.ts';

export interface ReadMember {
  entry: TarEntry;
  /** The data as it stood in the archive, and where it goes. */
  pieces: Array<{ position: number; bytes: Buffer }>;
  /** The file with its holes filled by zeros. */
  content: Buffer;
}

/** Everything in an archive; pushed in one piece, or in pieces of the given sizes in turn. */
export function readAll(archive: Buffer, chunkSizes: readonly number[] = [archive.length]): ReadMember[] {
  const members: ReadMember[] = [];
  const open: ReadMember[] = [];
  const reader = createTarReader({
    entry(entry) {
      const member = { entry, pieces: [], content: Buffer.alloc(0) };
      open.push(member);
      members.push(member);
    },
    data(bytes, position) {
      open.at(-1)?.pieces.push({ position, bytes: Buffer.from(bytes) });
    },
    endEntry() {
      const member = open.pop();
      if (member === undefined) throw new Error('an entry ended that never began');
      if (member.entry.size > 1 << 28) return;
      member.content = Buffer.alloc(member.entry.size);
      for (const { position, bytes } of member.pieces) bytes.copy(member.content, position);
    },
  });
  let turn = 0;
  for (let at = 0; at < archive.length; turn++) {
    const size = Math.max(1, chunkSizes[turn % chunkSizes.length] ?? 1);
    // A copy that is wiped after the call: the reader must not keep a view on it.
    const chunk = Buffer.from(archive.subarray(at, at + size));
    reader.push(chunk);
    chunk.fill(0xee);
    at += size;
  }
  reader.end();
  return members;
}
