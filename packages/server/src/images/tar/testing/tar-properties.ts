import fc from 'fast-check';
import type { Property } from '../../../test-support/property.ts';
import { createTarReader } from '../reader.ts';
import { TarFormatError, type TarSink } from '../types.ts';
import { buildTar, gnuLong, header, type TestMember, withChecksum } from './build-tar.ts';

const NAMES = [
  ...[
    'a',
    'a/b',
    'a/b/c',
    './a',
    '/a',
    'a/',
    '',
    '.',
    '..',
    '../x',
    'a/../../x',
    'a/./b',
    'a//b',
    '/../x',
    '~',
    'link',
    'link/x',
  ],
  ...[
    '.wh.a',
    '.wh..wh..opq',
    'a/.wh.b',
    '.wh.',
    '.wh...',
    '.wh..wh.plnk/x',
    'a'.repeat(100),
    'a/'.repeat(49),
    'dir/',
    'dir/x',
  ],
];
const RECORDS: readonly (readonly [string, string])[] = [
  ...(['', '0', '1', '-1', '7', '512', '9'.repeat(19), '9007199254740991', '1.5', 'x'] as const).flatMap((value) =>
    ['size', 'uid', 'gid', 'mtime', 'GNU.sparse.size', 'GNU.sparse.realsize', 'GNU.sparse.numblocks'].map(
      (key) => [key, value] as const,
    ),
  ),
  ...NAMES.flatMap((name) => [
    ['path', name] as const,
    ['linkpath', name] as const,
    ['GNU.sparse.name', name] as const,
  ]),
  ['GNU.sparse.major', '1'],
  ['GNU.sparse.minor', '0'],
  ['GNU.sparse.major', '0'],
  ['GNU.sparse.minor', '1'],
  ['GNU.sparse.map', '0,1'],
  ['GNU.sparse.map', '0,5,9007199254740990,2'],
  ['GNU.sparse.map', '5,0,1,1'],
  ['GNU.sparse.offset', '3'],
  ['GNU.sparse.numbytes', '3'],
  ['SCHILY.xattr.user.a', 'b'],
  ['SCHILY.xattr.trusted.overlay.opaque', 'y'],
  ['SCHILY.xattr.trusted.overlay.redirect', '/x'],
  ['SCHILY.xattr.user.\0x', 'y'],
  ['SCHILY.xattr.security.capability', 'short'],
  ['SCHILY.xattr.', 'x'],
];
const SIZES = [0, 1, 511, 512, 513, 1024, 10_000, 2 ** 31, 2 ** 33, Number.MAX_SAFE_INTEGER, -1];

const name = fc.oneof(
  fc.constantFrom(...NAMES),
  fc.uint8Array({ maxLength: 110 }).map((bytes) => Buffer.from(bytes)),
);
const data = fc.uint8Array({ maxLength: 1600 }).map((bytes) => Buffer.from(bytes));
/** Every field of a header, and where in it. */
const patch = fc
  .tuple(fc.constantFrom(0, 100, 108, 116, 124, 136, 156, 157, 257, 263, 329, 337, 345, 386, 398, 482, 483, 508), data)
  .map(([at, bytes]) => [at, bytes.subarray(0, 12)] as const);

const member: fc.Arbitrary<TestMember> = fc.oneof(
  fc.record(
    {
      name,
      flag: fc.constantFrom(...'01234567SDxgLKXVZ\0'),
      linkName: name,
      data,
      mode: fc.nat(0o177777),
      uid: fc.constantFrom(0, 1, 65_535, 2 ** 31, -1),
      gid: fc.constantFrom(0, 1000),
      mtime: fc.constantFrom(0, -1, 2 ** 40),
      size: fc.constantFrom(...SIZES),
      pax: fc.array(fc.constantFrom(...RECORDS), { maxLength: 5 }),
      global: fc.boolean(),
      magic: fc.constantFrom('posix', 'gnu', 'none'),
      patch: fc.array(patch, { maxLength: 2 }),
    },
    { requiredKeys: ['name'] },
  ),
  fc.tuple(fc.constantFrom('L' as const, 'K' as const), name).map(([flag, text]) => gnuLong(flag, text)),
  // What can be unpacked.
  fc.record({ name: fc.constantFrom('a', 'a/b', 'dir/x', 'dir', 'link'), data }),
  fc.record({
    name: fc.constantFrom('link', 'a', 'dir'),
    flag: fc.constant('2'),
    linkName: fc.constantFrom('..', '/', 'a', '../victim'),
  }),
  fc.record({ name: fc.constantFrom('dir/', 'a/', 'link/'), flag: fc.constant('5') }),
  fc.record({
    name: fc.constantFrom('hard', 'a'),
    flag: fc.constant('1'),
    linkName: fc.constantFrom('link', 'a', '../victim/file', 'dir'),
  }),
);

/** Archives that are whole, nearly so, and not at all. */
export const anyArchive: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 5, arbitrary: fc.array(member, { maxLength: 8 }).map(buildTar) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.array(member, { minLength: 1, maxLength: 5 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.boolean(),
      )
      .map(([members, changes, sums]) => {
        const bytes = buildTar(members);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        return sums ? resummed(bytes) : bytes;
      }),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.array(member, { minLength: 1, maxLength: 5 }), fc.nat())
      .map(([members, at]) => cut(buildTar(members), at)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc
      .uint8Array({ maxLength: 512 })
      .map((bytes) => resummed(Buffer.concat([Buffer.from(bytes), Buffer.alloc(1024)]))),
  },
);

function cut(bytes: Buffer, at: number): Buffer {
  return bytes.subarray(0, at % (bytes.length + 1));
}

/** Every block with the checksum of a header: changes reach what stands behind the check. */
function resummed(bytes: Buffer): Buffer {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    const block = bytes.subarray(at, at + 512);
    if (block.subarray(257, 262).toString('latin1') === 'ustar') withChecksum(block);
  }
  return bytes;
}

/** What a reader told of an archive, in pieces of the given size; its error is the last word. */
function story(archive: Buffer, size: number): string[] {
  const told: string[] = [];
  let left: bigint | undefined;
  let end = -1;
  const sink: TarSink = {
    entry(entry) {
      if (left !== undefined) throw new Error('an entry begins in another');
      if (!Number.isSafeInteger(entry.size) || entry.size < 0) throw new Error(`a size of ${entry.size}`);
      left = BigInt(entry.size);
      end = 0;
      const { xattrs, ...rest } = entry;
      told.push(JSON.stringify({ ...rest, xattrs: [...xattrs] }));
    },
    data(bytes, position) {
      if (left === undefined || position < end || bytes.length === 0) throw new Error('data out of order');
      end = position + bytes.length;
      if (BigInt(end) > left) throw new Error('data behind the end of its file');
      told.push(`${position} ${bytes.toString('hex')}`);
    },
    endEntry() {
      if (left === undefined) throw new Error('an end without an entry');
      left = undefined;
      told.push('end');
    },
  };
  const reader = createTarReader(sink);
  try {
    for (let at = 0; at < archive.length; at += size) reader.push(Buffer.from(archive.subarray(at, at + size)));
    reader.end();
  } catch (error) {
    if (!(error instanceof TarFormatError)) throw error;
    told.push(error.message);
  }
  return told;
}

/** Pieces of data may be cut anywhere. */
function joined(told: readonly string[]): string {
  let next = -1;
  return told.reduce((text, line) => {
    const [, position, hex = ''] = /^(\d+) ([0-9a-f]+)$/.exec(line) ?? [];
    if (position === undefined) return `${text}\n${line}`;
    const goesOn = Number(position) === next;
    next = Number(position) + hex.length / 2;
    return goesOn ? text + hex : `${text}\n${line}`;
  }, '');
}

export function tarProperties(): Property[] {
  return [
    {
      name: 'archives are read in order, or are refused as no archive',
      runs: 1500,
      check: fc.property(anyArchive, (archive) => void story(archive, 512)),
    },
    {
      name: 'it makes no difference how the bytes come',
      runs: 500,
      check: fc.property(anyArchive, fc.integer({ min: 1, max: 700 }), (archive, size) => {
        const [whole, pieces] = [joined(story(archive, archive.length || 1)), joined(story(archive, size))];
        if (whole !== pieces) throw new Error(`in one piece:\n${whole}\nin pieces of ${size}:\n${pieces}`);
      }),
    },
    {
      name: 'one header with anything in it',
      runs: 1000,
      check: fc.property(fc.uint8Array({ minLength: 512, maxLength: 512 }), fc.boolean(), (bytes, keepsMagic) => {
        const block = Buffer.from(bytes);
        if (keepsMagic) header({ name: 'x' }).copy(block, 257, 257, 265);
        story(Buffer.concat([withChecksum(block), Buffer.alloc(2048)]), 512);
      }),
    },
  ];
}
