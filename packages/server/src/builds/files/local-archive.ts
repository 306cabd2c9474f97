import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createTarReader } from '../../images/tar/reader.ts';
import { TarFormatError, type TarSink } from '../../images/tar/types.ts';
import { decompressInto, isDecompressError } from '../../images/unpack/decompress.ts';
import { DarkroomError, invalidRequest, messageOf } from '../../platform/errors.ts';
import { readByProgram } from './read-by-program.ts';

export type ArchiveCompression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

const MAGIC: readonly (readonly [compression: ArchiveCompression, start: Buffer])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b, 0x08])],
  ['bzip2', Buffer.from('BZh')],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
];
/** Extended headers of a first member are at most this long. */
const PROBE_BYTES = 4 * 1024 * 1024;
const READ_BYTES = 512 * 1024;

/**
 * How the file is compressed when it is an archive that ADD unpacks: the first member of a tar can be read from it. By content, as a name
 * says nothing.
 */
export async function archiveCompression(file: string | Buffer): Promise<ArchiveCompression | undefined> {
  const compression = await compressionOf(file);
  let found = false;
  let bytes = 0;
  const done = new Error('the first member was read');
  const stop = () => {
    throw done;
  };
  const reader = createTarReader({
    entry: () => {
      found = true;
      stop();
    },
    data: stop,
    endEntry: stop,
  });
  try {
    await readArchive(file, compression, (chunk) => {
      bytes += chunk.length;
      if (bytes > PROBE_BYTES) stop();
      reader.push(chunk);
    });
  } catch (error) {
    if (error !== done && !isBroken(error)) throw error;
  }
  return found ? compression : undefined;
}

/** Pushes the whole archive into the sink. Raises `invalid_request` for one that is damaged. */
export async function readLocalArchive(
  file: string | Buffer,
  compression: ArchiveCompression,
  sink: TarSink,
  onBytes: (count: number) => void,
): Promise<void> {
  const reader = createTarReader(sink);
  try {
    await readArchive(file, compression, (chunk) => {
      onBytes(chunk.length);
      reader.push(chunk);
    });
    reader.end();
  } catch (error) {
    throw isBroken(error) ? invalidRequest(`the archive is damaged: ${messageOf(error)}`, { cause: error }) : error;
  }
}

function isBroken(error: unknown): boolean {
  if (error instanceof DarkroomError) return error.code === 'invalid_request';
  return error instanceof TarFormatError || isDecompressError(error);
}

async function readArchive(
  file: string | Buffer,
  compression: ArchiveCompression,
  consume: (chunk: Buffer) => void,
): Promise<void> {
  if (compression === 'bzip2' || compression === 'xz') return await readByProgram(compression, file, consume);
  const chunks: AsyncIterable<Buffer> = createReadStream(file, { highWaterMark: READ_BYTES });
  await decompressInto(chunks, compression, consume);
}

async function compressionOf(file: string | Buffer): Promise<ArchiveCompression> {
  const handle = await open(file, 'r');
  try {
    const start = Buffer.alloc(6);
    const { bytesRead } = await handle.read(start, 0, start.length, 0);
    const read = start.subarray(0, bytesRead);
    return MAGIC.find(([, magic]) => read.subarray(0, magic.length).equals(magic))?.[0] ?? 'none';
  } finally {
    await handle.close();
  }
}
