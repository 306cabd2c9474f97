import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { createPullFixture, ID_BASE, type PullFixture } from '../../packages/server/src/images/testing/pull-fixture.ts';
import { describeTree } from '../../packages/server/src/images/unpack/testing/tree.ts';
import { mount, unmount } from '../../packages/server/src/platform/libc.ts';
import { run } from '../../packages/server/src/platform/process.ts';

/** Whole images as people use them: what we pull and mount is, entry by entry, what umoci unpacks. */
let fixture: PullFixture;
beforeEach(async () => {
  fixture = await createPullFixture();
});
afterEach(() => fixture.close());

const registry = () => new URL(inject('registryUrl')).host;

type Tree = ReturnType<typeof describeTree>;

/**
 * Less what differs on purpose: device nodes are left out by us, and the root's own time, which no layer of these lists.
 */
function comparable(tree: Tree, ours: Tree): Tree {
  const shown = Object.entries(tree).filter(([, node]) => node.type !== 'device');
  return Object.fromEntries(
    shown.map(([path, node]) => [path, path === '' ? { ...node, mtimeNs: ours[path]?.mtimeNs ?? 0n } : node]),
  );
}

describe.each([
  ['Debian with Python: thousands of files, setuid programs, whiteouts', () => `library/${inject('baseImage')}`],
  ['the same with a large plain layer', () => 'library/padded:700mb'],
])('%s', (_what, name) => {
  test('gives the tree that umoci gives', { timeout: 300_000 }, async () => {
    const pulled = await fixture.pull(`${registry()}/${name()}`, {
      signal: AbortSignal.timeout(240_000),
      maxBytes: 4e9,
    });
    const layers = await Promise.all(pulled.layers.map((diffId) => fixture.layers.get(diffId)));
    const [merged, theirs] = [join(fixture.directory, 'merged'), join(fixture.directory, 'theirs')];
    await mkdir(merged);
    await mkdir(theirs);
    await run(
      'skopeo',
      ['copy', '--quiet', '--src-tls-verify=false', `docker://${registry()}/${name()}`, `oci:${theirs}/oci:x`],
      {
        timeoutMs: 240_000,
      },
    );
    await run('umoci', ['unpack', '--image', `${theirs}/oci:x`, `${theirs}/bundle`], { timeoutMs: 240_000 });
    const lowerdir = layers
      .map((layer) => layer?.path)
      .toReversed()
      .join(':');
    mount('overlay', merged, 'overlay', 1, `lowerdir=${lowerdir}`);
    try {
      const ours = describeTree(merged, { idBase: ID_BASE });
      expect(Object.keys(ours).length).toBeGreaterThan(5_000);
      expect(comparable(ours, ours)).toEqual(comparable(describeTree(join(theirs, 'bundle', 'rootfs')), ours));
    } finally {
      unmount(merged);
      await rm(theirs, { recursive: true, force: true });
    }
  });
});
