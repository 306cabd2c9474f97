import { expect, test } from 'vitest';
import { resolveOwner } from './file-owner.ts';
import { EMPTY_TREE } from './tree-view.ts';

test('numbers need nobody who has them, and are ids that an image has', async () => {
  expect(await resolveOwner('5', EMPTY_TREE, 65_536)).toEqual({ uid: 5, gid: 5 });
  expect(await resolveOwner('65535:0', EMPTY_TREE, 65_536)).toEqual({ uid: 65_535, gid: 0 });
  for (const text of ['65536', '0:65536', '4294967295', '3294967295:1', '9999999999']) {
    await expect(resolveOwner(text, EMPTY_TREE, 65_536)).rejects.toThrow('ids in an image are below 65536');
  }
});
