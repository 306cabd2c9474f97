import type { Readable } from 'node:stream';

/**
 * The first `size` bytes of a file whose length was already promised to the client. One that grew meanwhile is cut; one that
 * shrank ends the answer as broken, because nothing true can be sent for the rest.
 */
export async function* exactly(stream: Readable, size: number): AsyncGenerator<Buffer> {
  let left = size;
  try {
    if (left === 0) return;
    for await (const chunk of stream) {
      const bytes: Buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
      yield bytes.subarray(0, left);
      left -= Math.min(left, bytes.length);
      if (left === 0) return;
    }
    throw new Error(`the file became ${left} bytes shorter while it was sent`);
  } finally {
    stream.destroy();
  }
}
