import { mkdirSync } from 'node:fs';
import { unpackLayer } from '../unpack-layer.ts';
import { ID_BASE, ID_COUNT, inChunks, layerBlob } from './layer-blob.ts';

export interface UnpackArchiveOptions {
  maxBytes?: number;
  maxEntries?: number;
  maxPaddingBytes?: number;
  chunkBytes?: number;
}

/** Unpacks in this thread; makes the directory. */
export async function unpackArchive(archive: Buffer, directory: string, options: UnpackArchiveOptions = {}) {
  const { maxBytes = 1 << 30, maxEntries = 100_000, maxPaddingBytes = 1 << 30, chunkBytes = 64 * 1024 } = options;
  mkdirSync(directory, { recursive: true });
  const { blob, bytes } = layerBlob(archive, directory);
  const job = { ...blob, idBase: ID_BASE, idCount: ID_COUNT, maxBytes, maxEntries, maxPaddingBytes };
  return await unpackLayer(job, inChunks(bytes, chunkBytes), () => false);
}
