import { read } from 'node:fs';
import { promisify } from 'node:util';

const readAsync = promisify(read);

/** The first `limit` bytes of an open file, however large it says or grows to be. */
export async function readUpTo(fd: number, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  while (total < limit) {
    const chunk = Buffer.alloc(Math.min(64 * 1024, limit - total));
    const { bytesRead } = await readAsync(fd, chunk, 0, chunk.length, total);
    if (bytesRead === 0) break;
    chunks.push(chunk.subarray(0, bytesRead));
    total += bytesRead;
  }
  return Buffer.concat(chunks);
}
