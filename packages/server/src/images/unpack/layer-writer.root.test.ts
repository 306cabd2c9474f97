import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getXattr, listXattrs } from '../../platform/libc.ts';
import { buildTar, type TestMember } from '../tar/testing/build-tar.ts';
import { ID_BASE, ID_COUNT } from './testing/layer-blob.ts';
import { describeTree } from './testing/tree.ts';
import { unpackArchive } from './testing/unpack-archive.ts';

let base: string;
let layer: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'layer-writer-'));
  layer = join(base, 'layer');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const unpack = (members: readonly TestMember[], options = {}) => unpackArchive(buildTar(members), layer, options);
const opaque = (path: string) => getXattr(join(layer, path), 'trusted.overlay.opaque')?.toString();
const isWhiteout = (path: string) => {
  const stats = lstatSync(join(layer, path));
  return stats.isCharacterDevice() && stats.rdev === 0;
};

describe('files, links and directories', () => {
  it('get their type, mode, owner in the shifted range, content and times', async () => {
    const pax = [['mtime', '1700000000.123456789']] as const;
    const result = await unpack([
      { name: './', flag: '5', mode: 0o711, uid: 5, gid: 6, mtime: 1000 },
      { name: 'dir/', flag: '5', mode: 0o1777, uid: 1, gid: 2, pax },
      { name: 'dir/su', mode: 0o4755, uid: 0, gid: 3, data: Buffer.from('text'), pax },
      { name: 'dir/sg', mode: 0o2755, gid: ID_COUNT - 1, mtime: -86_400 },
      { name: 'dir/link', flag: '2', linkName: '../../../etc/passwd', uid: 7, gid: 8, pax },
      { name: 'dir/pipe', flag: '6', mode: 0o620, uid: 9, mtime: 5 },
      { name: 'dir/hard', flag: '1', linkName: 'dir/su' },
      { name: 'empty', mode: 0 },
    ]);
    expect(result).toEqual({ sizeBytes: 4, entries: 8, skippedDevices: 0 });
    const ns = 1_700_000_000_123_456_789n;
    const tree = describeTree(layer, { idBase: ID_BASE });
    expect(tree).toMatchObject({
      '': { type: 'directory', mode: '711', uid: 5, gid: 6, mtimeNs: 1000_000_000_000n },
      '/dir': { type: 'directory', mode: '1777', uid: 1, gid: 2, mtimeNs: ns },
      '/dir/su': { type: 'file', mode: '4755', uid: 0, gid: 3, size: 4n, mtimeNs: ns },
      '/dir/sg': { type: 'file', mode: '2755', gid: ID_COUNT - 1, mtimeNs: -86_400_000_000_000n },
      '/dir/link': { type: 'symlink', content: '../../../etc/passwd', uid: 7, gid: 8, mtimeNs: ns },
      '/dir/pipe': { type: 'fifo', mode: '620', uid: 9, mtimeNs: 5_000_000_000n },
      '/empty': { type: 'file', mode: '0', size: 0n },
    });
    expect(tree['/dir/su']?.linkedTo).toBe(tree['/dir/hard']?.linkedTo);
    expect(readFileSync(join(layer, 'dir/su'), 'utf8')).toBe('text');
  });

  it('keep names that are not UTF-8', async () => {
    const name = Buffer.from([0x64, 0x2f, 0xff, 0xfe, 0x80]);
    await unpack([{ name }]);
    expect(readdirSync(Buffer.from(join(layer, 'd')), { encoding: 'buffer' })).toEqual([name.subarray(2)]);
  });

  it('get parents that the archive does not list, which belong to root', async () => {
    await unpack([{ name: 'a/b/c', uid: 5 }]);
    const tree = describeTree(layer, { idBase: ID_BASE });
    expect(tree['/a']).toMatchObject({ type: 'directory', mode: '755', uid: 0, gid: 0, mtimeNs: 0n });
    expect(tree['/a/b']).toMatchObject({ mode: '755', uid: 0 });
  });

  it('keep their holes', async () => {
    const size = 20 * 2 ** 30;
    const pax = [
      ['GNU.sparse.size', String(size)],
      ['GNU.sparse.map', `${size - 4096},10`],
    ] as const;
    const result = await unpack([{ name: 'big', data: Buffer.from('0123456789'), pax }]);
    expect(result.sizeBytes).toBe(10);
    const stats = statSync(join(layer, 'big'));
    expect(stats.size).toBe(size);
    expect(stats.blocks * 512).toBeLessThan(1 << 20);
  });

  it('are left out when they are device nodes', async () => {
    const result = await unpack([
      { name: 'null', flag: '3', deviceMajor: 1, deviceMinor: 3 },
      { name: 'disk', flag: '4' },
      { name: 'zero', flag: '3' },
    ]);
    expect(result).toMatchObject({ entries: 0, skippedDevices: 3 });
    expect(readdirSync(layer)).toEqual([]);
  });
});

describe('an entry that comes twice', () => {
  it('is what the later one says', async () => {
    await unpack([
      { name: 'a', data: Buffer.from('first') },
      { name: 'hard', flag: '1', linkName: 'a' },
      { name: 'a', data: Buffer.from('second'), mode: 0o600 },
      { name: 'link', flag: '2', linkName: '/etc/passwd' },
      { name: 'link', data: Buffer.from('file') },
      { name: 'tree/x/y' },
      { name: 'tree', data: Buffer.from('file') },
      { name: 'was-link', flag: '2', linkName: '/etc' },
      { name: 'was-link', flag: '5' },
      { name: 'was-link/passwd', data: Buffer.from('mine') },
      { name: 'twice', flag: '5', mode: 0o700 },
      { name: 'twice/kept' },
      { name: 'twice', flag: '5', mode: 0o711 },
      { name: 'self', data: Buffer.from('self') },
      { name: 'self', flag: '1', linkName: './self' },
    ]);
    const text = (path: string) => readFileSync(join(layer, path), 'utf8');
    expect(['a', 'hard', 'link', 'tree', 'was-link/passwd', 'self'].map(text)).toEqual([
      'second',
      'first',
      'file',
      'file',
      'mine',
      'self',
    ]);
    expect(lstatSync(join(layer, 'twice')).mode & 0o777).toBe(0o711);
    expect(readdirSync(join(layer, 'twice'))).toEqual(['kept']);
  });
});

describe('whiteouts', () => {
  it('become character devices 0:0, whatever else the entry says', async () => {
    const result = await unpack([
      { name: '.wh.top' },
      { name: 'dir/.wh.file', data: Buffer.from('ignored') },
      { name: 'dir/.wh..dot', flag: '5' },
    ]);
    expect(result).toMatchObject({ sizeBytes: 0, entries: 3 });
    expect(['top', 'dir/file', 'dir/.dot'].map(isWhiteout)).toEqual([true, true, true]);
    expect(readdirSync(join(layer, 'dir')).sort()).toEqual(['.dot', 'file']);
  });

  it('leave what the same layer has, before them or after', async () => {
    await unpack([
      { name: 'before', data: Buffer.from('1') },
      { name: '.wh.before' },
      { name: '.wh.after' },
      { name: 'after', data: Buffer.from('2') },
    ]);
    expect(readFileSync(join(layer, 'before'), 'utf8')).toBe('1');
    expect(readFileSync(join(layer, 'after'), 'utf8')).toBe('2');
  });

  it('of a directory that the same layer has make it opaque', async () => {
    await unpack([
      { name: 'before/', flag: '5' },
      { name: '.wh.before' },
      { name: '.wh.after' },
      { name: 'after/', flag: '5' },
      { name: '.wh.implied' },
      { name: 'implied/file' },
    ]);
    expect(['before', 'after', 'implied'].map(opaque)).toEqual(['y', 'y', 'y']);
  });

  it('of all there is make the directory opaque, before its entry, after it, or without one', async () => {
    await unpack([
      { name: 'before/.wh..wh..opq' },
      { name: 'before/', flag: '5', mode: 0o700, uid: 3 },
      { name: 'after/', flag: '5', mode: 0o700, uid: 3 },
      { name: 'after/.wh..wh..opq' },
      { name: 'alone/.wh..wh..opq' },
    ]);
    expect(['before', 'after', 'alone'].map(opaque)).toEqual(['y', 'y', 'y']);
    const tree = describeTree(layer, { idBase: ID_BASE });
    expect(tree['/before']).toMatchObject({ mode: '700', uid: 3 });
    expect(tree['/after']).toMatchObject({ mode: '700', uid: 3 });
    expect(Object.keys(tree)).toHaveLength(4);
  });

  it('that AUFS kept for itself are passed over', async () => {
    await unpack([
      { name: '.wh..wh.plnk/', flag: '5' },
      { name: '.wh..wh.plnk/1.2' },
      { name: '.wh..wh.aufs' },
      { name: 'file' },
    ]);
    expect(readdirSync(layer)).toEqual(['file']);
  });
});

describe('extended attributes', () => {
  const attributes = async (pax: TestMember['pax'], member: Partial<TestMember> = {}) => {
    await unpack([{ name: 'x', ...member, ...(pax === undefined ? {} : { pax }) }]);
    const path = join(layer, 'x');
    return Object.fromEntries(listXattrs(path).map((name) => [name, getXattr(path, name)?.toString('hex')]));
  };
  const capability = (hex: string) => attributes([['SCHILY.xattr.security.capability', Buffer.from(hex, 'hex')]]);
  const shiftedRoot = Buffer.from(Uint32Array.of(ID_BASE).buffer).toString('hex');

  it('of users are kept, on files and directories', async () => {
    const pax = [
      ['SCHILY.xattr.user.a', 'text'],
      ['SCHILY.xattr.user.empty', ''],
    ] as const;
    expect(await attributes(pax)).toEqual({ 'user.a': '74657874', 'user.empty': '' });
    rmSync(layer, { recursive: true });
    expect(await attributes(pax, { flag: '5' })).toEqual({ 'user.a': '74657874', 'user.empty': '' });
  });

  it('that speak to the kernel or to overlayfs are left out', async () => {
    const names = [
      'trusted.overlay.opaque',
      'trusted.overlay.redirect',
      'trusted.x',
      'security.selinux',
      'user.overlay.opaque',
    ];
    expect(await attributes(names.map((name) => [`SCHILY.xattr.${name}`, 'y'] as const))).toEqual({});
  });

  it('that are capabilities count for the root of the range', async () => {
    expect(await capability('0100000200040000000000000000000000000000')).toEqual({
      'security.capability': `0100000300040000000000000000000000000000${shiftedRoot}`,
    });
  });

  it('that are capabilities of another namespace are shifted', async () => {
    expect(await capability(`0100000300040000000000000000000000000000${'05000000'}`)).toEqual({
      'security.capability': `0100000300040000000000000000000000000000${Buffer.from(Uint32Array.of(ID_BASE + 5).buffer).toString('hex')}`,
    });
  });

  it('that are malformed capabilities refuse the layer', async () => {
    await expect(capability('01')).rejects.toMatchObject({ code: 'image_invalid' });
  });

  it('that are access lists name shifted ids', async () => {
    const word = (value: number) => Buffer.from(Uint32Array.of(value).buffer).toString('hex');
    const list = (id: string) =>
      `02000000${'01000600ffffffff'}${`02000400${id}`}${'04000400ffffffff'}${'10000400ffffffff'}${'20000000ffffffff'}`;
    const found = await attributes([['SCHILY.xattr.system.posix_acl_access', Buffer.from(list(word(7)), 'hex')]]);
    expect(found).toEqual({ 'system.posix_acl_access': list(word(ID_BASE + 7)) });
  });
});
