import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { getXattr, listXattrs, MNT_DETACH, mount, setXattr, unmount } from '../platform/libc.ts';
import { walkTree } from './health/walk-tree.ts';
import { mergeLayers } from './merge-layers.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'merge-layers-'));
  // Overlayfs takes no upper directory of another overlay.
  mount('tmpfs', root, 'tmpfs', 0, 'size=16m');
});
afterEach(() => {
  unmount(root, MNT_DETACH);
  rmSync(root, { recursive: true, force: true });
});

/** Runs each script over what the ones before have left; the layers that come of it, base first. */
function layersOf(scripts: readonly string[]): string[] {
  const layers: string[] = [];
  for (const [index, script] of scripts.entries()) {
    const [upper, work, target] = [`upper-${index}`, `work-${index}`, `target-${index}`].map((name) =>
      join(root, name),
    );
    for (const path of [upper, work, target]) mkdirSync(path ?? '');
    if (index === 0) execFileSync('sh', ['-ec', script], { cwd: upper });
    else {
      const options = `lowerdir=${layers.toReversed().join(':')},upperdir=${upper},workdir=${work},redirect_dir=nofollow,metacopy=off,index=off`;
      mount('overlay', target ?? '', 'overlay', 0, options);
      try {
        execFileSync('sh', ['-ec', script], { cwd: target });
      } finally {
        unmount(target ?? '', MNT_DETACH);
      }
    }
    layers.push(upper ?? '');
  }
  return layers;
}

/** What is seen through the layers. */
function seen(layers: readonly string[]): unknown[] {
  const target = join(root, `seen-${Math.random()}`);
  const empty = join(root, 'empty');
  mkdirSync(target);
  mkdirSync(empty, { recursive: true });
  mount('overlay', target, 'overlay', 1, `lowerdir=${[...layers.toReversed(), empty].join(':')},redirect_dir=nofollow`);
  try {
    // Links to one file in lower layers are told apart by their paths.
    return [...walkTree(target, { crcOf: undefined, check: () => {} })];
  } finally {
    unmount(target, MNT_DETACH);
  }
}

const BASE =
  'mkdir -p a/b c d/e f; echo 1 > a/b/one; echo 2 > a/two; echo 3 > c/three; echo 4 > d/e/four; ln -s c link; echo g > g';

test.each<[string, string[]]>([
  [
    'files and directories that are added and changed',
    ['echo 5 > a/five; mkdir n', 'echo 6 > a/five; echo 7 > n/seven; chmod 700 n'],
  ],
  ['what is deleted, and made again', ['rm -r a c/three', 'mkdir a; echo n > a/new; echo again > c/three', 'rm a/new']],
  [
    'directories in the place of files, and files in that of directories',
    ['rm g link; mkdir g; echo x > g/x; mkdir link', 'rm -r g; echo file > g; rm -r d; echo d > d'],
  ],
  [
    'a directory that hides what is below, twice',
    ['rm -r a; mkdir a; echo 1 > a/x', 'rm -r a; mkdir a; echo 2 > a/y', 'rm -r a; mkdir -p a/b'],
  ],
  [
    'a directory that goes, and comes back later',
    ['mkdir new; echo 1 > new/f', 'rm -r new', 'mkdir new; echo 2 > new/h'],
  ],
  [
    'files under several names, of which one is changed',
    ['echo s > s1; ln s1 s2; ln s1 f/s3', 'echo other > s2.new; mv s2.new s2', 'rm s1'],
  ],
  ['directories that are renamed', ['cp -a a a2; rm -r a; mv a2 a3', 'mv f f2; mkdir f']],
  [
    'names of any bytes, links, pipes, owners, attributes and times',
    [
      'printf x > "$(printf \'\\377\\n\')"; mkdir "$(printf \'d\\376\')"; mkfifo pipe; ln -s nowhere dangling; chown 7:8 g; setfattr -n user.k -v v g || true',
      'rm -r "$(printf \'d\\376\')"; printf y > "$(printf \'d\\376\')"; touch -d @1000000000.123456789 f',
    ],
  ],
])('over the base, one layer shows what several did: %s', async (_what, scripts) => {
  const [base = '', ...above] = layersOf([BASE, ...scripts]);
  const merged = join(root, 'merged');
  mkdirSync(merged);
  await mergeLayers(above, merged, AbortSignal.timeout(30_000));
  expect(seen([base, merged])).toEqual(seen([base, ...above]));
});

test('an attribute that a later layer took from a directory does not come back', async () => {
  const [first, second] = ['first', 'second'].map((name) => join(root, name));
  for (const layer of [first, second]) mkdirSync(join(layer ?? '', 'kept/below'), { recursive: true });
  setXattr(join(first ?? '', 'kept'), 'trusted.gone', Buffer.from('1'));
  setXattr(join(first ?? '', 'kept/below'), 'trusted.gone', Buffer.from('1'));
  setXattr(join(first ?? '', 'kept'), 'trusted.overlay.opaque', Buffer.from('y'));
  setXattr(join(second ?? '', 'kept'), 'trusted.new', Buffer.from('2'));
  const merged = join(root, 'merged');
  mkdirSync(merged);
  await mergeLayers([first ?? '', second ?? ''], merged, AbortSignal.timeout(30_000));
  expect(listXattrs(join(merged, 'kept')).sort()).toEqual(['trusted.new', 'trusted.overlay.opaque']);
  expect(getXattr(join(merged, 'kept'), 'trusted.new')?.toString()).toBe('2');
  expect(listXattrs(join(merged, 'kept/below'))).toEqual([]);
});

test('one that is aborted raises the reason', async () => {
  const [, ...above] = layersOf([BASE, 'echo x > a/x', 'echo y > a/y']);
  mkdirSync(join(root, 'merged'));
  await expect(mergeLayers(above, join(root, 'merged'), AbortSignal.abort(new Error('enough')))).rejects.toThrow();
});
