import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MNT_DETACH, mount, unmount } from '../../platform/libc.ts';
import { originOf, withOrigins } from './shared-origin.ts';
import { treeAt } from './tree-view.ts';

test('the bytes of a file are found in the layer that shows', () => {
  const root = mkdtempSync(join(tmpdir(), 'origin-'));
  const path = (name: string) => join(root, name);
  for (const name of ['bottom/d', 'bottom/link', 'top/d', 'merged']) mkdirSync(path(name), { recursive: true });
  writeFileSync(path('bottom/d/both'), 'below');
  writeFileSync(path('bottom/d/below'), 'only below');
  writeFileSync(path('bottom/link/x'), 'hidden');
  writeFileSync(path('top/d/both'), 'above');
  symlinkSync('d', path('top/link'));
  mount('overlay', path('merged'), 'overlay', 0, `lowerdir=${path('top')}:${path('bottom')}`);
  try {
    const tree = withOrigins(treeAt(path('merged')), [path('top'), path('bottom')]);
    for (const [place, origin] of [
      ['d/both', 'top/d/both'],
      ['d/below', 'bottom/d/below'],
    ] as const) {
      const stats = tree.lstat(place);
      if (stats === undefined) throw new Error(`${place} is not there`);
      const found = originOf(tree, place, stats).toString();
      expect(found).toBe(path(origin));
      expect(readFileSync(found)).toEqual(readFileSync(path(`merged/${place}`)));
    }
    const other = tree.lstat('d/below');
    if (other === undefined) throw new Error('it is not there');
    expect(originOf(tree, 'd/both', other)).toBe(path('merged/d/both'));
    expect(tree.lstat('link/x')).toBeUndefined();
  } finally {
    unmount(path('merged'), MNT_DETACH);
    rmSync(root, { recursive: true, force: true });
  }
});
