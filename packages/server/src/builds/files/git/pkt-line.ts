import { DarkroomError } from '../../../platform/errors.ts';

/** A line of git's protocol, or one of its marks (gitprotocol-common, pkt-line format). */
export type Packet = { kind: 'data'; bytes: Buffer } | { kind: 'flush' } | { kind: 'delimiter' } | { kind: 'end' };

export const FLUSH = '0000';
export const DELIMITER = '0001';

export function packet(text: string): string {
  return (Buffer.byteLength(text) + 4).toString(16).padStart(4, '0') + text;
}

/** The packets of an answer, which may be cut anywhere. Raises `unavailable` for what is no such line, and at an end in the middle of one. */
export async function* readPackets(chunks: AsyncIterable<Buffer>): AsyncGenerator<Packet> {
  let parts: Buffer[] = [];
  let have = 0;
  let want = 4;
  let inHead = true;
  for await (const chunk of chunks) {
    parts.push(chunk);
    have += chunk.length;
    if (have < want) continue;
    let bytes = parts.length === 1 ? chunk : Buffer.concat(parts);
    while (bytes.length >= want) {
      const taken = bytes.subarray(0, want);
      bytes = bytes.subarray(want);
      if (!inHead) {
        yield { kind: 'data', bytes: taken };
        [inHead, want] = [true, 4];
        continue;
      }
      const text = taken.toString('latin1');
      const length = /^[0-9a-f]{4}$/i.test(text) ? Number.parseInt(text, 16) : -1;
      if (length === 0) yield { kind: 'flush' };
      else if (length === 1) yield { kind: 'delimiter' };
      else if (length === 2) yield { kind: 'end' };
      else if (length === 4) yield { kind: 'data', bytes: Buffer.alloc(0) };
      else if (length > 4) [inHead, want] = [false, length - 4];
      else throw malformed('its answer is not git’s protocol');
    }
    parts = [bytes];
    have = bytes.length;
  }
  if (have > 0 || !inHead) throw malformed('its answer ends in the middle');
}

/** The text of a packet without the newline at its end; raises what the server says in an error packet. */
export function textOf({ bytes }: { bytes: Buffer }): string {
  const text = bytes.toString('utf8').replace(/\n$/, '');
  if (text.startsWith('ERR ')) throw new GitServerRefusal(text.slice(4));
  return text;
}

/** What the server itself gives as its reason. */
export class GitServerRefusal extends Error {
  override readonly name = 'GitServerRefusal';
}

export function malformed(why: string): DarkroomError {
  return new DarkroomError('unavailable', why, { retryable: true });
}
