import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MNT_DETACH, mount, unmount } from '../platform/libc.ts';
import { createLayerVerifier } from './health/verify-layer.ts';
import { keepMounted, layerDiskOf } from './layer-disk.ts';
import { createLayerStore } from './layer-store.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layer-disk-'));
  mkdirSync(join(root, 'content/upper'), { recursive: true });
  writeFileSync(join(root, 'content/upper/file'), 'captured');
  execFileSync('mkfs.ext4', ['-q', '-F', '-b', '4096', '-d', join(root, 'content'), join(root, 'image'), '16M']);
});
afterEach(() => {
  for (const path of mountedBelow(root)) unmount(path, MNT_DETACH);
  rmSync(root, { recursive: true, force: true });
});

const mountedBelow = (path: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${path}/`));

test('a directory of a disk is a layer, also for the next server, until it is swept', async () => {
  const store = await createLayerStore(join(root, 'store'), { graceMs: 0 });
  const made = await store.makeFromDisk(join(root, 'image'), 'upper');
  expect(readdirSync(made.path)).toEqual(['file']);
  expect(made.sizeBytes).toBeGreaterThan(0);
  expect(() => writeFileSync(join(made.path, 'more'), '')).toThrow('EROFS');
  await store.close();
  expect(mountedBelow(root)).toEqual([]);

  const next = await createLayerStore(join(root, 'store'), { graceMs: 0 });
  const [found, again] = await Promise.all([next.get(made.diffId), next.get(made.diffId)]);
  expect(found).toEqual(made);
  expect(again).toEqual(made);
  expect(readFileSync(join(made.path, 'file'), 'utf8')).toBe('captured');
  expect(mountedBelow(root)).toEqual([made.path]);
  expect(await next.sweep(new Set())).toEqual([made.diffId]);
  expect(mountedBelow(root)).toEqual([]);
  expect(readdirSync(join(root, 'store/layers'))).toEqual([]);
  expect(readdirSync(join(root, 'store/tmp'))).toEqual([]);
});

test('one that nobody asked for in an hour is not mounted any more, and what uses it keeps it', async () => {
  let time = 0;
  const store = await createLayerStore(join(root, 'store'), { graceMs: 0, now: () => time });
  const made = await store.makeFromDisk(join(root, 'image'), 'upper');
  const kept = join(root, 'kept');
  mkdirSync(kept);
  mkdirSync(join(root, 'empty'));
  mount('overlay', kept, 'overlay', 1, `lowerdir=${made.path}:${join(root, 'empty')}`);
  const reading = openSync(join(made.path, 'file'), 'r');
  const needed = new Set([made.diffId]);
  time = 59 * 60_000;
  await store.sweep(needed);
  expect(mountedBelow(join(root, 'store'))).toEqual([made.path]);
  time = 61 * 60_000;
  await store.sweep(needed);
  // Somebody still reads it.
  expect(mountedBelow(join(root, 'store'))).toEqual([made.path]);
  closeSync(reading);
  const use = keepMounted(made.path);
  await store.sweep(needed);
  expect(readdirSync(made.path)).toEqual(['file']);
  use[Symbol.dispose]();
  await store.sweep(needed);
  expect(mountedBelow(join(root, 'store'))).toEqual([]);
  expect(readFileSync(join(kept, 'file'), 'utf8')).toBe('captured');
  await store.get(made.diffId);
  expect(readFileSync(join(made.path, 'file'), 'utf8')).toBe('captured');
  await store.close();
});

test('a disk that cannot be mounted is an error each time, and not a layer without files', async () => {
  writeFileSync(join(root, 'image'), Buffer.alloc(1024 * 1024));
  const store = await createLayerStore(join(root, 'store'), { graceMs: 0 });
  await expect(store.makeFromDisk(join(root, 'image'), 'upper')).rejects.toMatchObject({ code: 'unavailable' });
  const [left] = await store.list();
  await expect(store.get(left?.diffId ?? '')).rejects.toMatchObject({ code: 'unavailable' });
  expect(mountedBelow(root)).toEqual([]);
  expect(await store.sweep(new Set())).toEqual([left?.diffId]);
});

test('a look at every byte finds what the disk has lost, also of files that were read before', async () => {
  const store = await createLayerStore(join(root, 'store'), { graceMs: 0 });
  const made = await store.makeFromDisk(join(root, 'image'), 'upper');
  const verifier = createLayerVerifier();
  const options = { contents: true, signal: new AbortController().signal };
  await verifier.recordLayer(made.path, options);
  expect((await verifier.verifyLayer(made.path, options)).kind).toBe('sound');
  // On its way to the disk, below the file system whose files are cached.
  const disk = layerDiskOf(dirname(made.path));
  const bytes = readFileSync(disk);
  bytes.write('CAPTURED', bytes.indexOf('captured'), 'latin1');
  writeFileSync(disk, bytes, { flag: 'r+' });
  expect(readFileSync(join(made.path, 'file'), 'utf8')).toBe('captured');
  expect(await verifier.verifyLayer(made.path, options)).toEqual({
    kind: 'damaged',
    differences: ['/file: its bytes'],
  });
  await verifier.close();
  await store.close();
});
