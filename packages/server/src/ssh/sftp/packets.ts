import type { Readable } from 'node:stream';
import { BadMessage } from './wire.ts';

/** As OpenSSH's server has it. */
export const MAX_PACKET_BYTES = 256 * 1024;

/** The packets of a stream, without their lengths, read no faster than they are taken. */
export async function* packetsOf(stream: Readable): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = [];
  let have = 0;
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    pieces.push(piece);
    have += piece.length;
    const wanted = have < 4 ? Number.POSITIVE_INFINITY : lengthAt(pieces);
    if (have < wanted) continue;
    let bytes = Buffer.concat(pieces);
    for (;;) {
      if (bytes.length < 4) break;
      const end = lengthAt([bytes]);
      if (bytes.length < end) break;
      yield bytes.subarray(4, end);
      bytes = bytes.subarray(end);
    }
    pieces = [bytes];
    have = bytes.length;
  }
}

/** Bytes of the packet that these begin with, and of the length before it. */
function lengthAt(pieces: readonly Buffer[]): number {
  const [first = Buffer.alloc(0)] = pieces;
  const head = first.length >= 4 ? first : Buffer.concat(pieces);
  const length = head.readUInt32BE(0);
  if (length < 1 || length > MAX_PACKET_BYTES) throw new BadMessage(`a packet of ${length} bytes`);
  return length + 4;
}
