import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { LayerBlob } from '../types.ts';

export const ID_BASE = 1_000_000_000;
export const ID_COUNT = 65_536;

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

const COMPRESS = { gzip: gzipSync, zstd: zstdCompressSync, none: (plain: Buffer) => plain } as const;

/** An archive as a registry has it, and what a manifest says about it. */
export function layerBlob(archive: Buffer, directory: string, compression: LayerBlob['compression'] = 'none') {
  const bytes: Buffer = COMPRESS[compression](archive);
  return { bytes, blob: blobOf(bytes, archive, directory, compression) };
}

export function blobOf(
  bytes: Buffer,
  archive: Buffer,
  directory: string,
  compression: LayerBlob['compression'],
): LayerBlob {
  return {
    directory,
    compression,
    blobDigest: sha256(bytes),
    blobSize: bytes.length,
    diffId: sha256(archive),
    maxBytes: 1 << 30,
  };
}

export async function* inChunks(bytes: Buffer, size = 64 * 1024): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
