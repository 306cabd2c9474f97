import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MNT_DETACH, mount, unmount } from '../../platform/libc.ts';
import { buildTar } from '../tar/testing/build-tar.ts';
import { blobOf, ID_BASE, ID_COUNT, inChunks, layerBlob, sha256 } from './testing/layer-blob.ts';
import { createUnpacker, type LayerUnpacker } from './unpacker.ts';

let base: string;
let unpacker: LayerUnpacker;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'unpacker-'));
  unpacker = createUnpacker({ idBase: ID_BASE, idCount: ID_COUNT });
});
afterEach(async () => {
  await unpacker.close();
  rmSync(base, { recursive: true, force: true });
});

const never = new AbortController().signal;
const newDirectory = (name = 'layer') => {
  const path = join(base, name);
  mkdirSync(path);
  return path;
};
const files = (count: number, size: number) =>
  buildTar(Array.from({ length: count }, (_, index) => ({ name: `dir/${index}`, data: Buffer.alloc(size, index) })));

/** Never ends, and tells when it was closed. */
function endless(begin: Buffer) {
  const closed = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const iterator: AsyncIterator<Uint8Array> = {
    next: (() => {
      let first = true;
      return () => {
        if (!first) asked.resolve();
        const answer = first ? Promise.resolve({ value: begin }) : new Promise<never>(() => {});
        first = false;
        return answer;
      };
    })(),
    return: async () => {
      closed.resolve();
      return { done: true, value: undefined };
    },
  };
  return { source: { [Symbol.asyncIterator]: () => iterator }, closed: closed.promise, asked: asked.promise };
}

describe('unpacking a layer', () => {
  it.each(['none', 'gzip', 'zstd'] as const)('reads compression %s and says what came out', async (compression) => {
    const { blob, bytes } = layerBlob(files(20, 100_000), newDirectory(), compression);
    const layer = await unpacker.unpack(inChunks(bytes, 1000), blob, never);
    expect(layer).toEqual({ sizeBytes: 2_000_000, entries: 20, skippedDevices: 0 });
    expect(readdirSync(join(blob.directory, 'dir'))).toHaveLength(20);
  });

  it('reads blobs of several gzip members and zstd frames', async () => {
    const archive = files(3, 1000);
    const halves = [archive.subarray(0, 1111), archive.subarray(1111)];
    for (const [compression, compress] of [
      ['gzip', gzipSync],
      ['zstd', zstdCompressSync],
    ] as const) {
      const bytes = Buffer.concat(halves.map((half) => compress(half)));
      const blob = blobOf(bytes, archive, newDirectory(compression), compression);
      expect(await unpacker.unpack(inChunks(bytes), blob, never)).toMatchObject({ entries: 3 });
    }
  });

  it('counts what follows the end of the archive into the diffID', async () => {
    const archive = Buffer.concat([files(1, 10), Buffer.from('more bytes behind the end')]);
    const { blob, bytes } = layerBlob(archive, newDirectory(), 'gzip');
    expect(await unpacker.unpack(inChunks(bytes), blob, never)).toMatchObject({ entries: 1 });
  });

  it('leaves the buffers of its source alone', async () => {
    const { blob, bytes } = layerBlob(files(1, 10), newDirectory());
    await unpacker.unpack(inChunks(bytes, bytes.length), blob, never);
    expect(sha256(bytes)).toBe(blob.blobDigest);
  });

  it('runs many layers at once, each to its own end', async () => {
    const archives = Array.from({ length: 7 }, (_, index) => files(index + 1, 200_000));
    const calls = archives.map((archive, index) => {
      const { blob, bytes } = layerBlob(archive, newDirectory(`layer-${index}`), 'zstd');
      return unpacker.unpack(inChunks(bytes), blob, never);
    });
    const layers = await Promise.all(calls);
    expect(layers.map(({ entries }) => entries)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('a layer that is not what its manifest says', () => {
  const wrong = `sha256:${'0'.repeat(64)}`;

  it.each(['none', 'gzip', 'zstd'] as const)(
    'fails with both digests of the blob (%s), and leaves nothing',
    async (c) => {
      const { blob, bytes } = layerBlob(files(3, 1000), newDirectory(), c);
      const call = unpacker.unpack(inChunks(bytes), { ...blob, blobDigest: wrong }, never);
      await expect(call).rejects.toMatchObject({
        code: 'image_invalid',
        message: expect.stringMatching(`blob digest should be ${wrong} and is ${blob.blobDigest}`),
      });
      expect(readdirSync(blob.directory)).toEqual([]);
    },
  );

  it('fails with both diffIDs', async () => {
    const { blob, bytes } = layerBlob(files(3, 1000), newDirectory(), 'gzip');
    const call = unpacker.unpack(inChunks(bytes), { ...blob, diffId: wrong }, never);
    await expect(call).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(`diffID should be ${wrong} and is ${blob.diffId}`),
    });
  });

  it.each(['none', 'gzip', 'zstd'] as const)(
    'fails with both digests when bytes were damaged on the way (%s)',
    async (c) => {
      const { blob, bytes } = layerBlob(files(3, 1000), newDirectory(), c);
      const damaged = Buffer.from(bytes);
      damaged.fill(0x7e, 30, 60);
      const call = unpacker.unpack(inChunks(damaged, 50), blob, never);
      await expect(call).rejects.toThrow(`should be ${blob.blobDigest} and is ${sha256(damaged)}`);
    },
  );

  it('fails when it is shorter or longer than its size', async () => {
    const { blob, bytes } = layerBlob(files(3, 1000), newDirectory(), 'gzip');
    const short = unpacker.unpack(inChunks(bytes.subarray(0, 50)), blob, never);
    await expect(short).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/50 of \d+ bytes/),
    });
    const long = unpacker.unpack(inChunks(bytes), { ...blob, blobSize: bytes.length - 1 }, never);
    await expect(long).rejects.toMatchObject({ code: 'image_invalid', message: expect.stringMatching(/longer than/) });
  });

  it('fails as what it is when it is whole, but no archive', async () => {
    const { blob, bytes } = layerBlob(Buffer.alloc(2000, 'no archive'), newDirectory(), 'gzip');
    const call = unpacker.unpack(inChunks(bytes), blob, never);
    await expect(call).rejects.toMatchObject({ code: 'image_invalid', message: expect.stringMatching(/checksum/) });
  });

  it('fails when its digest is of a kind that nobody can verify', async () => {
    const { blob, bytes } = layerBlob(files(1, 1), newDirectory());
    const call = unpacker.unpack(inChunks(bytes), { ...blob, blobDigest: 'md5:00' }, never);
    await expect(call).rejects.toMatchObject({ code: 'image_invalid' });
  });
});

describe('a layer that ends early', () => {
  it('because of a cancel raises its reason, closes the source and leaves nothing', async () => {
    const { blob, bytes } = layerBlob(files(50, 10_000), newDirectory());
    const { source, asked, closed } = endless(bytes.subarray(0, 300 * 1024));
    const controller = new AbortController();
    const call = unpacker.unpack(source, blob, controller.signal);
    const ended = expect(call).rejects.toThrow('no longer wanted');
    await asked;
    controller.abort(new Error('no longer wanted'));
    await ended;
    await closed;
    expect(readdirSync(blob.directory)).toEqual([]);
  });

  it('because it was hostile does not wait for the rest of a source that hangs', async () => {
    const archive = buildTar([{ name: '../x' }, { name: 'y', data: Buffer.alloc(500_000) }]);
    for (const compression of ['none', 'gzip', 'zstd'] as const) {
      const { blob } = layerBlob(archive, newDirectory(compression));
      const bytes = { none: archive, gzip: gzipSync(archive, { level: 0 }), zstd: zstdCompressSync(archive) }[
        compression
      ];
      const begin = Buffer.concat([bytes.subarray(0, compression === 'zstd' ? undefined : 400_000)]);
      // A batch goes over when it is full.
      const { source } = endless(begin.length < 256 * 1024 ? Buffer.concat([begin, Buffer.alloc(256 * 1024)]) : begin);
      const call = unpacker.unpack(source, { ...blob, compression, blobSize: 1 << 30 }, never);
      await expect(call).rejects.toMatchObject({ code: 'image_invalid', message: expect.stringMatching(/"\.\."/) });
    }
  });

  it('because its source fails raises what the source raised', async () => {
    const { blob, bytes } = layerBlob(files(50, 10_000), newDirectory());
    async function* failing() {
      yield bytes.subarray(0, 300 * 1024);
      throw new Error('connection cut');
    }
    await expect(unpacker.unpack(failing(), blob, never)).rejects.toThrow('connection cut');
    expect(readdirSync(blob.directory)).toEqual([]);
  });

  it('because it was cancelled before it began does not touch its source', async () => {
    const { blob } = layerBlob(files(1, 1), newDirectory());
    const source = {
      [Symbol.asyncIterator]: (): AsyncIterator<Uint8Array> => {
        throw new Error('must not be read');
      },
    };
    await expect(unpacker.unpack(source, blob, AbortSignal.abort(new Error('early')))).rejects.toThrow('early');
  });

  it('because its worker died fails alone, and the next one gets another', async () => {
    const { blob, bytes } = layerBlob(files(50, 10_000), newDirectory());
    const { source, asked } = endless(bytes.subarray(0, 300 * 1024));
    const call = unpacker.unpack(source, blob, never);
    const failed = expect(call).rejects.toMatchObject({ code: 'unavailable', retryable: true });
    await asked;
    await unpacker.close();
    await failed;
    expect(readdirSync(blob.directory)).toEqual([]);
    unpacker = createUnpacker({ idBase: ID_BASE, idCount: ID_COUNT });
    expect(await unpacker.unpack(inChunks(bytes), blob, never)).toMatchObject({ entries: 50 });
  });

  it('because the disk is full says so, and gives the room back', async () => {
    const directory = newDirectory('disk');
    mount('tmpfs', directory, 'tmpfs', 0, 'size=1m');
    try {
      const layer = join(directory, 'layer');
      mkdirSync(layer);
      const { blob, bytes } = layerBlob(files(50, 100_000), layer, 'zstd');
      const call = unpacker.unpack(inChunks(bytes), blob, never);
      await expect(call).rejects.toMatchObject({ code: 'insufficient_storage', retryable: true });
      expect(readdirSync(layer)).toEqual([]);
    } finally {
      unmount(directory, MNT_DETACH);
    }
  });

  it('makes room for the next one, however many do', async () => {
    const { blob, bytes } = layerBlob(buildTar([{ name: '../x' }]), newDirectory());
    const calls = Array.from({ length: 12 }, () => unpacker.unpack(inChunks(bytes), blob, never));
    const results = await Promise.allSettled(calls);
    expect(results.map(({ status }) => status)).toEqual(calls.map(() => 'rejected'));
    const good = layerBlob(files(2, 2), newDirectory('good'));
    expect(await unpacker.unpack(inChunks(good.bytes), good.blob, never)).toMatchObject({ entries: 2 });
  });
});

describe('a closed unpacker', () => {
  it('refuses layers, also those that waited for a worker', async () => {
    const running = Array.from({ length: 10 }, (_, index) => {
      const { blob } = layerBlob(files(1, 1), newDirectory(`layer-${index}`));
      return unpacker.unpack(endless(Buffer.alloc(0)).source, blob, never);
    });
    const outcomes = Promise.allSettled(running);
    await unpacker.close();
    expect(new Set((await outcomes).map(({ status }) => status))).toEqual(new Set(['rejected']));
    const { blob, bytes } = layerBlob(files(1, 1), newDirectory());
    await expect(unpacker.unpack(inChunks(bytes), blob, never)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
