import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { errnoOf } from '../../platform/errors.ts';
import type { LayerBlob } from './types.ts';
import { splitZstdFrames } from './zstd-frames.ts';

/** Large, because each chunk is a round trip to zlib's thread and back. */
const CHUNK_BYTES = 512 * 1024;

/** Feeds what comes out of the decompressor to `consume`, in order. The decompressor works in a thread of its own. */
export async function decompressInto(
  chunks: AsyncIterable<Buffer>,
  compression: LayerBlob['compression'],
  consume: (plain: Buffer) => void,
): Promise<void> {
  const consumeAll = async (plain: AsyncIterable<Buffer>) => {
    for await (const chunk of plain) consume(chunk);
  };
  switch (compression) {
    case 'none':
      return await consumeAll(chunks);
    case 'gzip':
      return await pipeline(Readable.from(chunks), createGunzip({ chunkSize: CHUNK_BYTES }), consumeAll);
    case 'zstd': {
      const frames = Readable.from(splitZstdFrames(chunks));
      return await pipeline(frames, createZstdDecompress({ chunkSize: CHUNK_BYTES }), consumeAll);
    }
  }
}

/** Whether the compressed bytes themselves are at fault (`Z_DATA_ERROR`, `ZSTD_error_prefix_unknown`, …). */
export function isDecompressError(error: unknown): boolean {
  return /^(Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD)/.test(errnoOf(error) ?? '');
}
