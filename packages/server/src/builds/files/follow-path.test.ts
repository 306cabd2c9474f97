import { lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { followPath } from './follow-path.ts';
import { cleanPath, namesDirectory, placeIn } from './tree-path.ts';
import { treeAt } from './tree-view.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'follow-'));
  mkdirSync(join(root, 'a/b'), { recursive: true });
  writeFileSync(join(root, 'a/b/file'), '');
  symlinkSync('/a', join(root, 'absolute'));
  symlinkSync('../../../../a/b', join(root, 'a/up'));
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync('nothing/here', join(root, 'dangling'));
  symlinkSync('/var/lib', join(root, 'etc'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test.each([
  ['a/b/file', 'a/b/file'],
  ['absolute/b', 'a/b'],
  ['a/up/file', 'a/b/file'],
  ['absolute/up/../up', 'a/b'],
  ['../../a', 'a'],
  ['dangling/x', 'nothing/here/x'],
  ['etc/dpkg', 'var/lib/dpkg'],
  ['new/./x//y', 'new/x/y'],
])('%s leads to %s', (path, expected) => expect(followPath(treeAt(root), path)).toBe(expected));

test('a circle of links is refused', () => {
  expect(() => followPath(treeAt(root), 'loop/x')).toThrow('too many symbolic links');
});

test('nothing behind a symlink is seen without following it inside', () => {
  const view = treeAt(root);
  expect(view.lstat('etc/dpkg')).toBeUndefined();
  expect(view.names('etc')).toEqual([]);
  expect(view.lstat('absolute/b')).toBeUndefined();
  expect(view.lstat('a/b/file/x')).toBeUndefined();
  expect(view.lstat('')?.isDirectory()).toBe(true);
  expect(view.names('a')).toEqual(['b', 'up']);
});

test('places are relative to the working directory, and end at the root', () => {
  expect(placeIn('/app', 'x')).toBe('app/x');
  expect(placeIn('/app', '/x/../../y/')).toBe('y');
  expect(cleanPath('../..')).toBe('');
  expect(['a/', './', 'a/.', '/'].every(namesDirectory)).toBe(true);
  expect(['a', '.', '..', 'a/..', 'a/.b', ''].some(namesDirectory)).toBe(false);
});

test('what no kernel would follow is refused before it is looked at, and links that go up and down have an end', () => {
  expect(() => followPath(treeAt(root), 'a/'.repeat(200_000))).toThrow(/the path is too long/);
  const target = `${'a/../'.repeat(400)}next`;
  let looked = 0;
  const hostile = {
    lstat: (path: string) => {
      looked += 1;
      return lstatSync(join(root, path.endsWith('next') ? 'loop' : 'a'), { bigint: true });
    },
    readlink: () => target,
  };
  expect(() => followPath(hostile, 'next')).toThrow(/too many symbolic links/);
  expect(looked).toBeLessThan(5000);
});
