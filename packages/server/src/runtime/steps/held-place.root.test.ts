import { mkdir, mkdtemp, open, readdir, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findPlace, type OpenRoot } from './find-place.ts';
import { holdPlace, makePlace } from './held-place.ts';

const CHANGED = /was changed by another step/;

let directory: string;
let outside: string;
let root: OpenRoot & { close(): Promise<void> };
beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'held-place-')));
  outside = join(directory, 'outside');
  const path = join(directory, 'root');
  await mkdir(join(path, 'cache/sub'), { recursive: true });
  await mkdir(join(outside, 'x'), { recursive: true });
  const handle = await open(path);
  root = { fd: handle.fd, path, close: () => handle.close() };
});
afterEach(async () => {
  await root.close();
  await rm(directory, { recursive: true });
});

/** What a step that shares the cache does while another one is begun. */
async function swap(): Promise<void> {
  await rename(join(root.path, 'cache/sub'), join(root.path, 'cache/old'));
  await symlink(outside, join(root.path, 'cache/sub'));
}

test('a place that has become a link out of the root is not mounted on', async () => {
  await mkdir(join(root.path, 'cache/sub/x'));
  expect(findPlace(root, '/cache/sub/x')).toEqual({ found: '/cache/sub/x', isDirectory: true });
  await swap();
  expect(() => holdPlace(root, '/cache/sub/x')).toThrow(CHANGED);
});

test('nothing is made, and nobody’s owner changed, behind a link that a directory has become', async () => {
  expect(findPlace(root, '/cache/sub/x/y')).toEqual({ under: '/cache/sub', missing: ['x', 'y'] });
  await swap();
  expect(() => holdPlace(root, '/cache/sub')).toThrow(CHANGED);
  await symlink(outside, join(root.path, 'cache/old/out'));
  await symlink(join(outside, 'file'), join(root.path, 'cache/old/file'));
  const under = holdPlace(root, '/cache/old');
  expect(() => makePlace(under, ['out', 'x'], 'directory', 100_000)).toThrow(CHANGED);
  makePlace(under, ['file'], 'file', 100_000);
  expect(await readdir(outside)).toEqual(['x']);
  expect((await stat(join(outside, 'x'))).uid).toBe(process.getuid?.());
});

test('what is missing is made, for the root of the step', async () => {
  const under = holdPlace(root, '/cache');
  makePlace(under, ['a', 'b'], 'directory', 100_000);
  makePlace(under, ['a', 'c'], 'file', 100_000);
  for (const path of ['a', 'a/b', 'a/c']) expect((await stat(join(root.path, 'cache', path))).uid).toBe(100_000);
});
