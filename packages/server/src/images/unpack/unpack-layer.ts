import { DarkroomError, messageOf } from '../../platform/errors.ts';
import { failpointSync } from '../../platform/failpoints.ts';
import { writeTreeRecord } from '../health/tree-record.ts';
import { walkTree } from '../health/walk-tree.ts';
import { createTarReader } from '../tar/reader.ts';
import { TarFormatError } from '../tar/types.ts';
import { decompressInto, isDecompressError } from './decompress.ts';
import { createDigestCheck, type DigestCheck } from './digest-check.ts';
import { LayerWriter, type WrittenLayer } from './layer-writer.ts';
import type { LayerBlob } from './types.ts';
import { UnpackCancelled } from './unpack-error.ts';

export interface UnpackJob extends LayerBlob {
  idBase: number;
  idCount: number;
  maxEntries: number;
  /** Bytes of the archive that are neither data of files nor headers of a common size: padding, huge headers. */
  maxPaddingBytes: number;
}

/** What an entry has besides its data: its header, one of PAX kind, and both filled up to blocks. */
const ENTRY_BYTES = 4096;

/** The whole way of one layer: hash, decompress, hash, parse, write, compare. Blocks the thread while it writes. */
export async function unpackLayer(
  job: UnpackJob,
  chunks: AsyncIterable<Buffer>,
  isCancelled: () => boolean,
): Promise<WrittenLayer> {
  const blob = countedBlob(chunks, job, isCancelled);
  const plain = createDigestCheck(job.diffId);
  const writer = new LayerWriter({ ...job, isCancelled });
  try {
    const reader = createTarReader(writer);
    let plainBytes = 0;
    await decompressInto(blob.chunks(), job.compression, (bytes) => {
      try {
        plain.update(bytes);
        reader.push(bytes);
        plainBytes += bytes.length;
        checkPadding(plainBytes - writer.sizeBytes - writer.madeEntries * ENTRY_BYTES, job.maxPaddingBytes);
      } catch (error) {
        blob.stop();
        throw error;
      }
    });
    reader.end();
    await blob.verify();
    compare(plain, 'diffID');
    failpointSync('pull.blob-read');
    const written = writer.finish();
    if (job.record !== undefined) {
      const check = () => {
        if (isCancelled()) throw new UnpackCancelled();
      };
      const entries = walkTree(job.directory, { crcOf: (path) => writer.crcOf(path), check });
      // Its owner syncs all that is in the directory, and beside it.
      writeTreeRecord(job.record, entries, { sync: false });
    }
    failpointSync('pull.unpacked');
    return written;
  } catch (error) {
    writer.abandon();
    if (!(error instanceof TarFormatError) && !isDecompressError(error)) throw error;
    // Bytes that make no sense are most often not the bytes that were meant: the digest tells, once all are there.
    await blob.verify();
    throw new DarkroomError('image_invalid', messageOf(error), { cause: error });
  }
}

/** Zeros compress a thousandfold: what is passed over and never written must have an end as well. */
function checkPadding(bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return;
  throw new DarkroomError('image_invalid', `the layer has more than ${maxBytes} bytes that belong to no file`);
}

/** The compressed bytes on their way: counted, hashed, and readable to the end after their first reader gave up. */
function countedBlob(source: AsyncIterable<Buffer>, job: LayerBlob, isCancelled: () => boolean) {
  const check = createDigestCheck(job.blobDigest);
  const iterator = source[Symbol.asyncIterator]();
  const stopped = Promise.withResolvers<undefined>();
  let pending: Promise<IteratorResult<Buffer>> | undefined;
  let size = 0;
  let ended = false;

  async function next(unless?: Promise<undefined>): Promise<Buffer | undefined> {
    if (ended) return undefined;
    pending ??= iterator.next();
    const result = await (unless === undefined ? pending : Promise.race([unless, pending]));
    if (isCancelled()) throw new UnpackCancelled();
    if (result === undefined) return undefined;
    pending = undefined;
    if (result.done === true) {
      ended = true;
      return undefined;
    }
    check.update(result.value);
    size += result.value.length;
    if (size > job.blobSize) {
      throw new DarkroomError('image_invalid', `the blob ${job.blobDigest} is longer than its ${job.blobSize} bytes`);
    }
    return result.value;
  }

  return {
    async *chunks(): AsyncGenerator<Buffer> {
      for (let chunk = await next(stopped.promise); chunk !== undefined; chunk = await next(stopped.promise))
        yield chunk;
    },
    /** Ends `chunks` at once, also one that waits: a pipeline that fails waits for its source to close. */
    stop: () => stopped.resolve(undefined),
    /** Reads what is left, then compares. */
    async verify(): Promise<void> {
      while ((await next()) !== undefined);
      compare(check, 'blob digest', size === job.blobSize ? '' : ` (${size} of ${job.blobSize} bytes)`);
    },
  };
}

function compare(check: DigestCheck, what: string, addition = ''): void {
  const actual = check.digest();
  if (actual === check.expected && addition === '') return;
  throw new DarkroomError('image_invalid', `the ${what} should be ${check.expected} and is ${actual}${addition}`, {
    details: { expected: check.expected, actual },
  });
}
