import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MNT_DETACH, mount, unmount } from '../platform/libc.ts';
import { createLayerStore } from './layer-store.ts';
import { buildTar } from './tar/testing/build-tar.ts';
import { ID_BASE, ID_COUNT, inChunks, layerBlob } from './unpack/testing/layer-blob.ts';
import { createUnpacker, type LayerUnpacker } from './unpack/unpacker.ts';

let root: string;
let unpacker: LayerUnpacker;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layer-store-root-'));
  mount('tmpfs', root, 'tmpfs', 0, 'size=2m');
  unpacker = createUnpacker({ idBase: ID_BASE, idCount: ID_COUNT });
});
afterEach(async () => {
  await unpacker.close();
  unmount(root, MNT_DETACH);
  rmSync(root, { recursive: true, force: true });
});

const never = new AbortController().signal;
const archive = (bytes: number) =>
  buildTar([
    { name: 'dir/', flag: '5' },
    { name: Buffer.from([0xff, 0xfe]), data: Buffer.alloc(bytes, 'x') },
  ]);

const add = async (bytes: number) => {
  const store = await createLayerStore(join(root, 'store'), { graceMs: 0 });
  const { blob, bytes: compressed } = layerBlob(archive(bytes), 'set by fill', 'gzip');
  const fill = (directory: string, signal: AbortSignal) =>
    unpacker.unpack(inChunks(compressed), { ...blob, directory }, signal);
  return { store, layer: await store.add(blob.diffId, fill, never) };
};

it('a layer goes from its blob into the store', async () => {
  mkdirSync(join(root, 'store'));
  const { store, layer } = await add(1000);
  expect(layer.sizeBytes).toBe(1000);
  expect(readdirSync(layer.path)).toHaveLength(2);
  expect(await store.sweep(new Set())).toEqual([layer.diffId]);
  expect(readdirSync(join(root, 'store/layers'))).toEqual([]);
});

it('a full disk fails the layer, leaves nothing of it, and what fits is stored afterwards', async () => {
  await expect(add(4 << 20)).rejects.toMatchObject({ code: 'insufficient_storage' });
  expect(readdirSync(join(root, 'store/tmp'))).toEqual([]);
  expect((await add(1 << 20)).layer.sizeBytes).toBe(1 << 20);
});

it('a disk that is full to the last byte can still be swept', async () => {
  const { store, layer } = await add(1 << 20);
  expect(() => writeFileSync(join(root, 'filler'), Buffer.alloc(2 << 20))).toThrow('ENOSPC');
  await expect(add(100_000)).rejects.toMatchObject({ code: 'insufficient_storage' });
  expect(await store.sweep(new Set())).toEqual([layer.diffId]);
});
