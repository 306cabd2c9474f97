import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decompressInto } from './decompress.ts';
import { inChunks } from './testing/layer-blob.ts';

async function decompress(bytes: Buffer, compression: 'zstd' | 'gzip', chunkBytes: number): Promise<Buffer> {
  const plain: Buffer[] = [];
  await decompressInto(inChunks(bytes, chunkBytes), compression, (chunk) => plain.push(Buffer.from(chunk)));
  return Buffer.concat(plain);
}

const skippable = (size: number) => {
  const frame = Buffer.alloc(8 + size);
  frame.writeUInt32LE(0x184d2a5e, 0);
  frame.writeUInt32LE(size, 4);
  return frame;
};

describe('a zstd blob of many frames', () => {
  it('is read to its end, wherever its chunks are cut', async () => {
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
      fc.integer({ min: 0, max: 300_000 }).map((length) => Buffer.alloc(length, 'run')),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(content, fc.option(fc.nat(20))), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 5000 }),
        async (frames, chunkBytes) => {
          const bytes = frames.flatMap(([plain, skip]) => [
            zstdCompressSync(plain),
            ...(skip === null ? [] : [skippable(skip)]),
          ]);
          const plain = Buffer.concat(frames.map(([data]) => data));
          expect((await decompress(Buffer.concat(bytes), 'zstd', chunkBytes)).equals(plain)).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('is refused when its last frame is cut off, or is no frame', async () => {
    const frame = zstdCompressSync(Buffer.alloc(10_000, 'abc'));
    const cut = Buffer.concat([frame, frame.subarray(0, frame.length - 2)]);
    await expect(decompress(cut, 'zstd', 7)).rejects.toThrow();
    await expect(decompress(Buffer.concat([frame, Buffer.from('not a frame')]), 'zstd', 1000)).rejects.toThrow();
  });
});
