import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MNT_DETACH, MS_RDONLY, mount, unmount } from '../../platform/libc.ts';
import { run } from '../../platform/process.ts';
import { buildTar, type TestMember } from '../tar/testing/build-tar.ts';
import { ID_BASE } from './testing/layer-blob.ts';
import { writeOciLayout } from './testing/oci-layout.ts';
import { makeFullTree } from './testing/sample-tree.ts';
import { describeTree } from './testing/tree.ts';
import { unpackArchive } from './testing/unpack-archive.ts';

let base: string;
const path = (name: string) => join(base, name);
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'umoci-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** Mounts our layers as a sandbox would see them, and compares with what umoci makes of the same image. */
async function compare(archives: readonly Buffer[]): Promise<Record<string, unknown>> {
  writeOciLayout(path('image'), 'tag', archives);
  await run('umoci', ['unpack', '--image', `${path('image')}:tag`, path('bundle')], { timeoutMs: 60_000 });
  const lowers: string[] = [];
  for (const [index, archive] of archives.entries()) {
    lowers.unshift(path(`layer-${index}`));
    await unpackArchive(archive, path(`layer-${index}`));
  }
  // An overlay without an upper directory needs two lower ones.
  mkdirSync(path('nothing'));
  mkdirSync(path('merged'));
  mount('overlay', path('merged'), 'overlay', MS_RDONLY, `lowerdir=${[...lowers, path('nothing')].join(':')}`);
  try {
    const ours = describeTree(path('merged'), { idBase: ID_BASE });
    expect(ours).toEqual(describeTree(path('bundle/rootfs')));
    return ours;
  } finally {
    unmount(path('merged'), MNT_DETACH);
  }
}

const directory = (name: string, rest: Partial<TestMember> = {}): TestMember => ({
  name,
  flag: '5',
  mode: 0o755,
  mtime: 1_600_000_000,
  ...rest,
});
const file = (name: string, text: string, rest: Partial<TestMember> = {}): TestMember => ({
  name,
  data: Buffer.from(text),
  mtime: 1_500_000_000,
  ...rest,
});

describe('an image is unpacked as umoci unpacks it', () => {
  it('with everything that a root file system has', async () => {
    mkdirSync(path('source'));
    makeFullTree(path('source'));
    // umoci cannot read GNU's sparse files.
    const args = [
      '--create',
      '--format=posix',
      '--file',
      path('x.tar'),
      '--xattrs',
      '--xattrs-include=*',
      '--numeric-owner',
    ];
    await run('tar', [...args, '-C', path('source'), '.'], { timeoutMs: 60_000 });
    const tree = await compare([readFileSync(path('x.tar'))]);
    expect(Object.keys(tree).length).toBeGreaterThan(15);
  });

  it('with layers that hide, replace and make again', async () => {
    const bottom = [
      directory('./'),
      directory('etc/'),
      file('etc/hidden', 'hidden'),
      file('etc/replaced', 'old'),
      file('etc/kept', 'kept', { mode: 0o600, uid: 7, gid: 8 }),
      directory('opaque/'),
      file('opaque/old', 'old'),
      directory('opaque/sub/'),
      file('opaque/sub/old', 'old'),
      directory('gone/'),
      file('gone/file', 'gone'),
      directory('again/'),
      file('again/old', 'old'),
      directory('to-file/'),
      file('to-file/old', 'old'),
      file('to-directory', 'file'),
      { name: 'to-link', flag: '2', linkName: 'etc', mtime: 5 },
      file('linked', 'linked'),
      { name: 'linked-too', flag: '1', linkName: 'linked' },
    ];
    const middle = [
      directory('./', { mtime: 1_650_000_000 }),
      directory('etc/', { mode: 0o700 }),
      file('etc/.wh.hidden', ''),
      file('etc/replaced', 'new', { mode: 0o4755, mtime: 1_550_000_000 }),
      directory('opaque/', { mode: 0o711, uid: 3 }),
      file('opaque/.wh..wh..opq', ''),
      file('opaque/new', 'new'),
      file('.wh.gone', ''),
      file('.wh.again', ''),
      directory('again/', { mtime: 1_234_567_890 }),
      file('again/new', 'new'),
      file('to-file', 'now a file'),
      directory('to-directory/'),
      file('to-directory/file', 'inside'),
      directory('to-link/'),
      file('to-link/file', 'a directory now'),
      file('.wh.linked', ''),
    ];
    const top = [
      directory('./', { mtime: 1_660_000_000 }),
      directory('opaque/', { mode: 0o755 }),
      file('opaque/newest', 'newest'),
      directory('gone/'),
      file('gone/back', 'back'),
      file('etc/.wh.kept', ''),
      directory('etc/', { mode: 0o755, mtime: 1_670_000_000 }),
    ];
    const tree = await compare([bottom, middle, top].map(buildTar));
    expect(Object.keys(tree)).toEqual([
      '',
      '/again',
      '/again/new',
      '/etc',
      '/etc/replaced',
      '/gone',
      '/gone/back',
      '/linked-too',
      '/opaque',
      '/opaque/new',
      '/opaque/newest',
      '/to-directory',
      '/to-directory/file',
      '/to-file',
      '/to-link',
      '/to-link/file',
    ]);
  });
});
