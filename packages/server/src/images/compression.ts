export type Compression = 'gzip' | 'zstd' | 'none';

export interface SniffedSource {
  compression: Compression;
  /** All bytes, also those that were looked at. */
  source: AsyncIterable<Uint8Array>;
  /** Ends the source, whether it was read or not. */
  close(): Promise<void>;
}

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** A zstd stream may begin with a skippable frame (RFC 8878, section 3.1.2): 0x184D2A50 to 0x184D2A5F, little-endian. */
const SKIPPABLE = Buffer.from([0x2a, 0x4d, 0x18]);

/** Tells the compression by the first bytes, as Docker and containerd do: media types of real images are sometimes wrong. */
export async function sniffCompression(bytes: AsyncIterable<Uint8Array>): Promise<SniffedSource> {
  const rest = bytes[Symbol.asyncIterator]();
  const ahead: Uint8Array[] = [];
  let size = 0;
  while (size < ZSTD.length) {
    const next = await rest.next();
    if (next.done === true) break;
    ahead.push(next.value);
    size += next.value.length;
  }
  const close = async () => {
    await rest.return?.();
  };
  const iterator: AsyncIterator<Uint8Array> = {
    next: async () => {
      const first = ahead.shift();
      return first === undefined ? rest.next() : { done: false, value: first };
    },
    return: async () => {
      await close();
      return { done: true, value: undefined };
    },
  };
  const compression = compressionOf(Buffer.concat(ahead));
  return { compression, close, source: { [Symbol.asyncIterator]: () => iterator } };
}

function compressionOf(start: Buffer): Compression {
  if (start.subarray(0, 2).equals(GZIP)) return 'gzip';
  const isSkippable = ((start[0] ?? 0) & 0xf0) === 0x50 && start.subarray(1, 4).equals(SKIPPABLE);
  return isSkippable || start.subarray(0, 4).equals(ZSTD) ? 'zstd' : 'none';
}
