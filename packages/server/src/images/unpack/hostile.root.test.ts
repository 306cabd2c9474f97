import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DarkroomError } from '../../platform/errors.ts';
import { buildTar, gnuLong, type TestMember, withChecksum } from '../tar/testing/build-tar.ts';
import { entryPath } from './entry-path.ts';
import { ID_COUNT } from './testing/layer-blob.ts';
import { describeTree } from './testing/tree.ts';
import { type UnpackArchiveOptions, unpackArchive } from './testing/unpack-archive.ts';

let base: string;
let layer: string;
let outside: ReturnType<typeof describeTree>;
const withoutLayer = () => {
  const tree = describeTree(base);
  return Object.fromEntries(
    Object.entries(tree).filter(([path]) => !path.startsWith('/layer/') && path !== '/layer' && path !== ''),
  );
};

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'hostile-layer-'));
  layer = join(base, 'layer');
  mkdirSync(layer);
  mkdirSync(join(base, 'victim'));
  writeFileSync(join(base, 'victim/file'), 'untouched');
  symlinkSync('victim', join(base, 'link'));
  outside = withoutLayer();
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const refused = async (members: readonly TestMember[], message: RegExp, options: UnpackArchiveOptions = {}) => {
  const call = unpackArchive(buildTar(members), layer, options);
  await expect(call).rejects.toMatchObject({ code: 'image_invalid', message: expect.stringMatching(message) });
  expect(withoutLayer()).toEqual(outside);
};

describe('a hostile layer is refused, and touches nothing outside, when', () => {
  it.each(['../victim/file', 'a/../../victim/file', '..', 'a/..', '/../victim/file', './../x', 'a/../b'])(
    'a name goes up: %s',
    (name) => refused([{ name, data: Buffer.from('owned') }], /"\.\." in it/),
  );

  it('a name goes up in a PAX or GNU header', async () => {
    await refused([{ name: 'ok', pax: [['path', '../victim/file']] }], /"\.\."/);
    rmSync(layer, { recursive: true });
    await refused([gnuLong('L', '../victim/file'), { name: 'ok' }], /"\.\."/);
    rmSync(layer, { recursive: true });
    const pax = [
      ['GNU.sparse.name', '../victim/file'],
      ['GNU.sparse.size', '0'],
    ] as const;
    await refused([{ name: 'ok', pax }], /"\.\."/);
  });

  it('an entry goes through a symlink that the layer made', async () => {
    for (const target of ['../victim', '/', '.', join(base, 'victim')]) {
      rmSync(layer, { recursive: true, force: true });
      const members = [
        { name: 'way', flag: '2', linkName: target },
        { name: 'way/file', data: Buffer.from('owned') },
      ];
      await refused(members, /parent "way" is a symlink/);
    }
  });

  it('a directory, link, whiteout or opaque marker goes through a symlink', async () => {
    const link = { name: 'a/way', flag: '2', linkName: '../../victim' };
    const attacks: TestMember[] = [
      { name: 'a/way/dir/', flag: '5' },
      { name: 'a/way/dir/deeper/file' },
      { name: 'a/way/link', flag: '2', linkName: 'x' },
      { name: 'a/way/hard', flag: '1', linkName: 'a/way' },
      { name: 'a/way/pipe', flag: '6' },
      { name: 'a/way/.wh.file' },
      { name: 'a/way/.wh..wh..opq' },
    ];
    for (const attack of attacks) {
      rmSync(layer, { recursive: true, force: true });
      await refused([link, attack], /is a symlink/);
    }
  });

  it('a hard link leads out', async () => {
    await refused([{ name: 'x', flag: '1', linkName: '../victim/file' }], /"\.\."/);
    rmSync(layer, { recursive: true });
    await refused([{ name: 'x', flag: '1', linkName: join(base, 'victim/file') }], /does not have/);
    rmSync(layer, { recursive: true });
    const members = [
      { name: 'way', flag: '2', linkName: '../victim' },
      { name: 'x', flag: '1', linkName: 'way/file' },
    ];
    await refused(members, /does not have/);
  });

  it('a hard link has no target in the layer', async () => {
    await refused([{ name: 'x', flag: '1', linkName: 'nowhere' }], /hard link to "nowhere"/);
    rmSync(layer, { recursive: true });
    await refused([{ name: '.wh.gone' }, { name: 'x', flag: '1', linkName: 'gone' }], /does not have/);
    rmSync(layer, { recursive: true });
    await refused(
      [
        { name: 'd', flag: '5' },
        { name: 'x', flag: '1', linkName: 'd' },
      ],
      /hard link to a directory/,
    );
  });

  it('a parent is a file', () => refused([{ name: 'a' }, { name: 'a/b' }], /parent "a" is not a directory/));

  it('something else stands where the root is', async () => {
    await refused([{ name: '/', data: Buffer.from('x'), flag: '7' }], /root directory/);
    rmSync(layer, { recursive: true });
    await refused([{ name: './.', flag: '2', linkName: 'x' }], /root directory/);
  });

  it('a whiteout hides a place that is no name', async () => {
    for (const name of ['.wh.', '.wh..', '.wh...', 'a/.wh...']) {
      rmSync(layer, { recursive: true, force: true });
      await refused([{ name }], /whiteout of nothing/);
    }
    await refused([{ name: '.wh.a/file' }], /parent is a whiteout/);
  });

  it('a name or link has a zero byte, is too long, or is nothing', async () => {
    await refused([{ name: 'x', pax: [['path', 'a\0b']] }], /zero byte/);
    await refused([{ name: 'x', flag: '2', pax: [['linkpath', 'a\0b']] }], /zero byte/);
    await refused([{ name: 'x', flag: '2' }], /symlink to nothing/);
    await refused([{ name: 'x', pax: [['path', 'n'.repeat(256)]] }], /longer than 255 bytes/);
    await refused([{ name: 'x', pax: [['path', 'deep/'.repeat(1000)]] }], /too long/);
    await refused([{ name: 'x', flag: '2', pax: [['linkpath', 't'.repeat(5000)]] }], /too long/);
  });

  it('an owner is outside the range', async () => {
    await refused([{ name: 'x', uid: ID_COUNT }], new RegExp(`"x": it belongs to user or group ${ID_COUNT}`));
    await refused([{ name: 'y', flag: '2', linkName: 'x', gid: 4_294_967_295 }], /4294967295/);
    await refused([{ name: 'z', flag: '5', magic: 'gnu', uid: -1 }], /-1/);
  });

  it('it unpacks to more than it may', async () => {
    const half = { data: Buffer.alloc(600) };
    await refused(
      [
        { name: 'a', ...half },
        { name: 'b', ...half },
      ],
      /more than 1000 bytes/,
      { maxBytes: 1000 },
    );
  });

  it('it has more entries than it may, also such as it only implies', async () => {
    const many = Array.from({ length: 11 }, (_, index) => ({ name: `f${index}` }));
    await refused(many, /more than 10 entries/, { maxEntries: 10 });
    await refused([{ name: 'a/b/c/d/e/f/g/h/i/j/k' }], /more than 10 entries/, { maxEntries: 10 });
    await refused(
      Array.from({ length: 11 }, () => ({ name: 'same' })),
      /more than 10 entries/,
      { maxEntries: 10 },
    );
  });

  it('it is mostly bytes that belong to no file: behind its end, in directories, in headers', async () => {
    const options = { maxPaddingBytes: 100_000 };
    const message = /more than 100000 bytes that belong to no file/;
    const end = Buffer.concat([buildTar([{ name: 'a' }]), Buffer.alloc(300_000)]);
    await expect(unpackArchive(end, layer, options)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(message),
    });
    await refused([{ name: 'a/', flag: 'D', data: Buffer.alloc(300_000) }], message, options);
    await refused([{ name: 'a', pax: [['comment', 'x'.repeat(300_000)]] }], message, options);
    const large = buildTar([{ name: 'big', data: Buffer.alloc(300_000) }]);
    expect(await unpackArchive(large, layer, options)).toMatchObject({ sizeBytes: 300_000 });
  });

  it('a file is longer than any file system can hold', () =>
    refused(
      [
        {
          name: 'x',
          pax: [
            ['GNU.sparse.size', String(Number.MAX_SAFE_INTEGER)],
            ['GNU.sparse.map', ''],
          ],
        },
      ],
      /more than the file system can hold/,
    ));

  it('it is cut off', async () => {
    const archive = buildTar([{ name: 'file', data: Buffer.alloc(5000) }]).subarray(0, 3000);
    await expect(unpackArchive(archive, layer)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/ends inside a file/),
    });
  });
});

describe('a name', () => {
  it.each([
    ['/etc/passwd', 'etc/passwd'],
    ['./etc//passwd/', 'etc/passwd'],
    ['//x', 'x'],
    ['./', ''],
    ['/', ''],
    ['', ''],
    ['...', '...'],
    ['..a/b..', '..a/b..'],
  ])('%j is the place %j in the layer', (name, path) => {
    expect(entryPath(Buffer.from(name), 'name')).toBe(path);
  });
});

describe('random archives', () => {
  const part = fc.constantFrom('a', 'b', '..', '.', '', '.wh.a', '.wh..wh..opq', 'victim', '\xff');
  const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => Buffer.from(parts.join('/'), 'latin1'));
  const member = fc.record({
    name,
    flag: fc.constantFrom('0', '1', '2', '3', '5', '6', 'S'),
    linkName: fc.oneof(
      name,
      fc.constantFrom('../victim', '../link', '/', '../victim/file').map((text) => Buffer.from(text)),
    ),
    data: fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes)),
    mode: fc.nat(0o7777),
    uid: fc.nat(ID_COUNT),
  });
  const damage = fc.record({
    changes: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    length: fc.double({ min: 0.3, max: 1, noNaN: true }),
  });

  it('are applied or refused, and never reach outside', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(member, { maxLength: 8 }), fc.option(damage), async (members, damaged) => {
        rmSync(layer, { recursive: true, force: true });
        const archive = buildTar(members);
        const bytes = damaged === null ? archive : archive.subarray(0, Math.ceil(archive.length * damaged.length));
        for (const [at, byte] of damaged?.changes ?? []) {
          const index = at % bytes.length;
          bytes[index] = byte;
          const start = index - (index % 512);
          if (bytes.toString('latin1', start + 257, start + 262) === 'ustar')
            withChecksum(bytes.subarray(start, start + 512));
        }
        try {
          await unpackArchive(bytes, layer, { chunkBytes: 700, maxEntries: 50 });
        } catch (error) {
          expect(error).toBeInstanceOf(DarkroomError);
          expect(error).toMatchObject({ code: 'image_invalid' });
        }
        expect(withoutLayer()).toEqual(outside);
      }),
      { numRuns: 400 },
    );
  });
});
