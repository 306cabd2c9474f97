import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MNT_DETACH, unmount } from '../platform/libc.ts';
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

test('a disk that cannot be mounted is an error each time, and not a layer without files', async () => {
  writeFileSync(join(root, 'image'), Buffer.alloc(1024 * 1024));
  const store = await createLayerStore(join(root, 'store'), { graceMs: 0 });
  await expect(store.makeFromDisk(join(root, 'image'), 'upper')).rejects.toMatchObject({ code: 'unavailable' });
  const [left] = await store.list();
  await expect(store.get(left?.diffId ?? '')).rejects.toMatchObject({ code: 'unavailable' });
  expect(mountedBelow(root)).toEqual([]);
  expect(await store.sweep(new Set())).toEqual([left?.diffId]);
});
