import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildTar, gnuLong, type TestMember } from '../../images/tar/testing/build-tar.ts';
import { ID_BASE, ID_COUNT, inChunks, sha256 } from '../../images/unpack/testing/layer-blob.ts';
import { describeTree } from '../../images/unpack/testing/tree.ts';
import { ContextMerge } from './merge-context.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'merge-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const file = (name: string, text: string, rest: Partial<TestMember> = {}): TestMember => ({
  name,
  data: Buffer.from(text),
  mode: 0o644,
  mtime: 1_500_000_000,
  ...rest,
});

async function merge(archives: readonly Buffer[], limits: { maxBytes?: number; maxEntries?: number } = {}) {
  const directory = join(root, 'tree');
  mkdirSync(directory, { recursive: true });
  const { maxBytes = 1 << 30, maxEntries = 1000 } = limits;
  const merging = new ContextMerge({
    directory,
    idBase: ID_BASE,
    idCount: ID_COUNT,
    maxBytes,
    maxEntries,
    check: () => {},
  });
  for (const [index, archive] of archives.entries()) await merging.add(`c${index}`, inChunks(archive, 700));
  const merged = merging.finish();
  return {
    ...merged,
    tree: describeTree(directory, { idBase: ID_BASE }),
    text: (name: string) => readFileSync(join(directory, name), 'utf8'),
  };
}

describe('contexts become one tree', () => {
  test('that belongs to root, with modes, times, links and empty directories', async () => {
    const { tree, digests, sizeBytes } = await merge([
      buildTar([
        file('./run.sh', 'run', { mode: 0o755, uid: 1000, gid: 1000 }),
        { name: 'empty/', flag: '5', mode: 0o700, mtime: 1_400_000_000 },
        { name: 'link', flag: '2', linkName: '../../etc/passwd', mtime: 5 },
        { name: 'hard', flag: '1', linkName: 'run.sh', mode: 0o755, mtime: 1_500_000_000 },
        file('x', 'long', { pax: [['path', `deep/${'n'.repeat(200)}/ünïcode`]] }),
        gnuLong('L', `gnu/${'g'.repeat(150)}`),
        file('y', 'gnu'),
      ]),
    ]);
    expect(tree['/run.sh']).toMatchObject({ mode: '755', uid: 0, gid: 0, mtimeNs: 1_500_000_000_000_000_000n });
    expect(tree['/empty']).toMatchObject({ type: 'directory', mode: '700', mtimeNs: 1_400_000_000_000_000_000n });
    expect(tree['/link']).toMatchObject({ type: 'symlink', content: '../../etc/passwd' });
    expect(tree['/hard']).toMatchObject({ linkedTo: '/hard' });
    expect(Object.values(tree).every(({ uid, gid }) => uid === 0 && gid === 0)).toBe(true);
    expect([...digests.keys()]).toEqual(['run.sh', `deep/${'n'.repeat(200)}/ünïcode`, `gnu/${'g'.repeat(150)}`]);
    expect(`sha256:${digests.get('run.sh')}`).toBe(sha256(Buffer.from('run')));
    expect(sizeBytes).toBe(10);
  });

  test('where the later of two wins', async () => {
    const first = buildTar([
      file('a', 'old'),
      file('b', 'kept'),
      file('d/x', 'x'),
      file('was-file', 'f'),
      { name: 's', flag: '2', linkName: 'd' },
    ]);
    const second = buildTar([
      file('./a', 'new'),
      file('d', 'file now'),
      file('was-file/x', 'x', {}),
      { name: 's/', flag: '5', mode: 0o755 },
    ]);
    await expect(merge([first, second])).rejects.toThrow(/was-file is there and not a directory/);
    const third = buildTar([file('./a', 'new'), file('d', 'file now'), { name: 's/', flag: '5', mode: 0o755 }]);
    rmSync(join(root, 'tree'), { recursive: true });
    const { text, tree } = await merge([first, third]);
    expect([text('a'), text('b'), text('d')]).toEqual(['new', 'kept', 'file now']);
    expect(tree['/s']?.type).toBe('directory');
  });

  test('also of archives without an end', async () => {
    const whole = buildTar([file('a', 'a'), file('b', 'bcd')]);
    const { text } = await merge([whole.subarray(0, whole.length - 1024 - 509)]);
    expect(text('b')).toBe('bcd');
    await expect(merge([whole.subarray(0, whole.length - 1024 - 510)])).rejects.toThrow(
      'context c0 is no whole archive',
    );
    expect(Object.keys((await merge([Buffer.alloc(0), buildTar([])])).tree)).toContain('/b');
  });

  test('through symlinks only inside it', async () => {
    const { tree } = await merge([buildTar([{ name: 'out', flag: '2', linkName: '/../../tmp' }, file('out/x', 'x')])]);
    expect(tree['/tmp/x']?.type).toBe('file');
  });
});

describe('a context is refused', () => {
  test.each([
    ['absolute names', [file('/etc/passwd', '')], 'its name is absolute'],
    ['names that go up', [file('a/../../b', '')], 'leads out by'],
    ['names that go up and come back', [file('a/../b', '')], 'leads out by'],
    ['hard links that go up', [{ name: 'a', flag: '1', linkName: '../x' }], 'leads out by'],
    ['hard links to nothing', [{ name: 'a', flag: '1', linkName: 'x' }], 'is no file there'],
    ['devices', [{ name: 'null', flag: '3', deviceMajor: 1, deviceMinor: 3 }], 'it is a device node'],
  ] as const)('for %s', async (_, members, message) => {
    await expect(merge([buildTar(members)])).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(message),
    });
  });

  test('when it is no archive', async () => {
    await expect(merge([Buffer.alloc(2048, 'x')])).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('when there is too much', async () => {
    const many = buildTar(Array.from({ length: 30 }, (_, index) => file(`f${index}`, 'x'.repeat(100))));
    await expect(merge([many], { maxEntries: 29 })).rejects.toMatchObject({ code: 'payload_too_large' });
    rmSync(join(root, 'tree'), { recursive: true });
    await expect(merge([many], { maxBytes: 2999 })).rejects.toMatchObject({ code: 'payload_too_large' });
  });
});
