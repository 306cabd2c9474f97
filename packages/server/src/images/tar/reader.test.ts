import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildTar, gnuLong, header, memberBlocks, paxBody, type TestMember } from './testing/build-tar.ts';
import { readAll } from './testing/read-all.ts';
import { TarFormatError } from './types.ts';

const first = (members: readonly TestMember[]) => {
  const [member] = readAll(buildTar(members));
  if (member === undefined) throw new Error('no member');
  return member;
};

describe('a member', () => {
  it('comes with everything that its header says', () => {
    const { entry, content } = first([
      { name: 'bin/su', mode: 0o104755, uid: 12, gid: 34, mtime: 1_700_000_000, data: Buffer.from('text') },
    ]);
    expect(entry).toMatchObject({ type: 'file', mode: 0o4755, uid: 12, gid: 34, size: 4, sparse: false });
    expect(entry.name.toString()).toBe('bin/su');
    expect(entry.mtime).toEqual({ seconds: 1_700_000_000, nanoseconds: 0 });
    expect(content.toString()).toBe('text');
  });

  it('has the type of its flag', () => {
    const flags = [...'\x0001234567'];
    const types = flags.map((flag) => first([{ name: 'x', flag, linkName: 'y' }]).entry.type);
    expect(types).toEqual([
      'file',
      'file',
      'hardlink',
      'symlink',
      'character-device',
      'block-device',
      'directory',
      'fifo',
      'file',
    ]);
  });

  it('of an old archive is a directory when its name ends in a slash', () => {
    expect(first([{ name: 'old/', magic: 'none' }]).entry.type).toBe('directory');
  });

  it('of a type that nobody knows is refused', () => {
    expect(() => first([{ name: 'x', flag: 'M' }])).toThrow(/type "M" is not known/);
  });

  it('that is a link has no data, whatever its size says', () => {
    const archive = buildTar([
      { name: 'link', flag: '1', linkName: 'x', size: 512 },
      { name: 'next', data: Buffer.from('1') },
    ]);
    expect(readAll(archive).map(({ entry }) => entry.name.toString())).toEqual(['link', 'next']);
  });

  it('can have its name split between name and prefix', () => {
    expect(first([{ name: 'leaf', prefix: 'a/b' }]).entry.name.toString()).toBe('a/b/leaf');
    expect(first([{ name: 'leaf', prefix: 'junk', magic: 'gnu' }]).entry.name.toString()).toBe('leaf');
  });

  it('can have numbers in base 256, also before 1970 and past octal', () => {
    const { entry } = first([{ name: 'x', uid: 3_000_000_000, mtime: -5, magic: 'gnu' }]);
    expect(entry.uid).toBe(3_000_000_000);
    expect(entry.mtime).toEqual({ seconds: -5, nanoseconds: 0 });
  });

  it('can have a GNU long name and link of any bytes, which counts more than PAX', () => {
    const name = Buffer.from([...'long/'.repeat(60)].map((c) => c.charCodeAt(0)).concat(0xff, 0xfe));
    const { entry } = first([
      gnuLong('L', name),
      gnuLong('K', 'target'.repeat(40)),
      { name: 'short', flag: '2', linkName: 'short', pax: [['path', 'pax']] },
    ]);
    expect(entry.name.equals(name)).toBe(true);
    expect(entry.linkName.toString()).toBe('target'.repeat(40));
  });
});

describe('a PAX header', () => {
  it('replaces fields of the header', () => {
    const { entry } = first([
      {
        name: 'x',
        flag: '2',
        pax: [
          ['path', 'päth'],
          ['linkpath', 'l'.repeat(300)],
          ['uid', '3000000000'],
          ['gid', '4000000000'],
          ['mtime', '1700000000.123456789'],
          ['SCHILY.xattr.user.note', Buffer.from([0, 1, 0xff, 0x0a, 0x3d])],
          ['SCHILY.xattr.user.empty', ''],
          ['comment', 'passed over'],
        ],
      },
    ]);
    expect(entry.name.toString()).toBe('päth');
    expect(entry.linkName).toHaveLength(300);
    expect([entry.uid, entry.gid]).toEqual([3_000_000_000, 4_000_000_000]);
    expect(entry.mtime).toEqual({ seconds: 1_700_000_000, nanoseconds: 123_456_789 });
    expect([...entry.xattrs]).toEqual([
      ['user.note', Buffer.from([0, 1, 0xff, 0x0a, 0x3d])],
      ['user.empty', Buffer.alloc(0)],
    ]);
  });

  it('speaks of one member only', () => {
    const [one, two] = readAll(buildTar([{ name: 'a', pax: [['uid', '7']] }, { name: 'b' }]));
    expect([one?.entry.uid, two?.entry.uid]).toEqual([7, 0]);
  });

  it('that is global speaks of all that follow, and a later empty value takes it back', () => {
    const members = readAll(
      buildTar([
        { name: '', pax: [['uid', '7']], global: true },
        { name: 'a' },
        { name: 'b', pax: [['uid', '9']] },
        { name: 'c', pax: [['uid', '']] },
        { name: '', pax: [['uid', '']], global: true },
        { name: 'd', uid: 1 },
      ]),
    );
    expect(members.map(({ entry }) => entry.uid)).toEqual([7, 9, 0, 1]);
  });

  it('may say a size past what the field holds', () => {
    const data = Buffer.from('abc');
    const archive = Buffer.concat([
      ...memberBlocks({ name: 'p', flag: 'x', data: paxBody([['size', '3']]) }),
      ...memberBlocks({ name: 'big', size: 0, data }),
      Buffer.alloc(1024),
    ]);
    expect(readAll(archive)[0]?.content).toEqual(data);
  });

  it.each([
    ['-0.5', { seconds: -1, nanoseconds: 500_000_000 }],
    ['-1', { seconds: -1, nanoseconds: 0 }],
    ['0.1', { seconds: 0, nanoseconds: 100_000_000 }],
    ['5.1234567899', { seconds: 5, nanoseconds: 123_456_789 }],
    ['5.', { seconds: 5, nanoseconds: 0 }],
  ])('keeps the time %s to the nanosecond', (text, mtime) => {
    expect(first([{ name: 'x', pax: [['mtime', text]] }]).entry.mtime).toEqual(mtime);
  });

  it.each([
    ['no length', 'path=x\n'],
    ['a length past its end', '99 path=x\n'],
    ['a length of nothing', '0 path=x\n'],
    ['no equals sign', '7 path\n'],
    ['no newline', '9 path=xy'],
    ['no key', '5 =x\n'],
  ])('with %s is refused', (_what, body) => {
    const archive = buildTar([{ name: 'p', flag: 'x', data: Buffer.from(body) }, { name: 'x' }]);
    expect(() => readAll(archive)).toThrow(TarFormatError);
  });

  it.each([
    ['uid', 'seven'],
    ['uid', '-1'],
    ['size', '99999999999999999999'],
    ['mtime', 'now'],
  ])('with %s=%s is refused', (key, value) => {
    expect(() => first([{ name: 'x', pax: [[key, value]] }])).toThrow(TarFormatError);
  });

  it('longer than a megabyte is refused', () => {
    const body = Buffer.alloc(1024 * 1024 + 1);
    expect(() => readAll(buildTar([{ name: 'p', flag: 'x', data: body }, { name: 'x' }]))).toThrow(/too long/);
  });
});

describe('a sparse file', () => {
  const data = Buffer.concat([Buffer.alloc(512, 'a'), Buffer.alloc(10, 'b')]);
  const whole = Buffer.concat([
    Buffer.alloc(1024),
    data.subarray(0, 512),
    Buffer.alloc(2000),
    data.subarray(512),
    Buffer.alloc(54),
  ]);
  const octal = (value: number) => Buffer.from(`${value.toString(8).padStart(11, '0')}\0`);
  const slots = (numbers: readonly number[]) => Buffer.concat(numbers.map(octal));

  it('of the old GNU kind is read', () => {
    const patch = [
      [386, slots([1024, 512, 3536, 10])],
      [483, octal(3600)],
    ] as const;
    const { entry, content } = first([{ name: 'x', flag: 'S', data, magic: 'gnu', patch }]);
    expect(entry.sparse).toBe(true);
    expect(content).toEqual(whole);
  });

  it('of the old GNU kind with a map that goes on behind the header is read', () => {
    const patch = [
      [386, slots([0, 0, 0, 0, 0, 0, 0, 0])],
      [482, Buffer.of(1)],
      [483, octal(3600)],
    ] as const;
    const extension = Buffer.concat([slots([1024, 512, 3536, 10, 3600, 0]), Buffer.alloc(512)]).subarray(0, 512);
    const [head, ...body] = memberBlocks({ name: 'x', flag: 'S', data, magic: 'gnu', patch });
    const archive = Buffer.concat([head ?? Buffer.alloc(0), extension, ...body, Buffer.alloc(1024)]);
    expect(readAll(archive)[0]?.content).toEqual(whole);
  });

  const formats: ReadonlyArray<[string, TestMember]> = [
    [
      '0.0',
      {
        name: 'x',
        data,
        pax: [
          ['GNU.sparse.size', '3600'],
          ['GNU.sparse.numblocks', '2'],
          ['GNU.sparse.offset', '1024'],
          ['GNU.sparse.numbytes', '512'],
          ['GNU.sparse.offset', '3536'],
          ['GNU.sparse.numbytes', '10'],
        ],
      },
    ],
    [
      '0.1',
      {
        name: 'GNUSparseFile.0/x',
        data,
        pax: [
          ['GNU.sparse.name', 'x'],
          ['GNU.sparse.size', '3600'],
          ['GNU.sparse.numblocks', '2'],
          ['GNU.sparse.map', '1024,512,3536,10'],
        ],
      },
    ],
    [
      '1.0',
      {
        name: 'GNUSparseFile.0/x',
        data: Buffer.concat([Buffer.from('2\n1024\n512\n3536\n10\n'.padEnd(512, '\0')), data]),
        pax: [
          ['GNU.sparse.major', '1'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.name', 'x'],
          ['GNU.sparse.realsize', '3600'],
        ],
      },
    ],
  ];
  it.each(formats)('of the PAX format %s is read', (_format, member) => {
    const { entry, content } = first([member]);
    expect(entry.name.toString()).toBe('x');
    expect(content).toEqual(whole);
  });

  it.each([
    ['out of order', '3536,10,1024,512'],
    ['past its end', '1024,512,3595,10'],
    ['with more than its data', '1024,512'],
    ['with half a pair', '1024,512,3536'],
    ['of no numbers', 'a,b'],
  ])('with a map %s is refused', (_what, map) => {
    const pax = [
      ['GNU.sparse.size', '3600'],
      ['GNU.sparse.map', map],
    ] as const;
    expect(() => first([{ name: 'x', data, pax }])).toThrow(TarFormatError);
  });

  it('with a map that never ends is refused, and not collected', () => {
    const pax = [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.realsize', '1'],
    ] as const;
    expect(() => first([{ name: 'x', data: Buffer.alloc(2 << 20, '1'), pax }])).toThrow(/too long/);
    expect(() => first([{ name: 'x', data: Buffer.alloc(512, '1\n'), pax }])).toThrow(TarFormatError);
  });
});

describe('an archive', () => {
  it('may end without zero blocks, and may be followed by anything', () => {
    const [block] = memberBlocks({ name: 'x' });
    expect(readAll(block ?? Buffer.alloc(0))).toHaveLength(1);
    expect(readAll(Buffer.concat([buildTar([{ name: 'x' }]), Buffer.from('garbage')]))).toHaveLength(1);
  });

  it('with a wrong checksum is refused', () => {
    const archive = buildTar([{ name: 'x' }]);
    archive.write('y');
    expect(() => readAll(archive)).toThrow(/checksum/);
  });

  it('with a signed checksum is read', () => {
    const block = header({ name: Buffer.from([0xff, 0xfe]) });
    const unsigned = Number.parseInt(block.toString('latin1', 148, 154), 8);
    block.write(`${(unsigned - 512).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    expect(readAll(block)).toHaveLength(1);
  });

  it('cut off anywhere inside a member is refused', () => {
    const archive = buildTar([{ name: 'x', data: Buffer.alloc(700, 'x'), pax: [['path', 'long name']] }]);
    const memberEnd = 512 * 2 + 512 + 700;
    for (let length = 1; length < memberEnd; length += 37) {
      expect(() => readAll(archive.subarray(0, length))).toThrow(TarFormatError);
    }
  });

  it('with a header behind a single zero block is refused', () => {
    const archive = Buffer.concat([Buffer.alloc(512), buildTar([{ name: 'x' }])]);
    expect(() => readAll(archive)).toThrow(/zero block/);
  });

  it('with a negative size is refused', () => {
    expect(() => first([{ name: 'x', size: -1 }])).toThrow(/negative/);
  });

  const member = fc.record({
    name: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes.map((byte) => byte || 1))),
    data: fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
    uid: fc.nat(4_294_967_294),
    mode: fc.nat(0o7777),
    mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    long: fc.constantFrom('pax', 'gnu'),
  });

  it('reads the same in pieces of any size as it was written', () => {
    fc.assert(
      fc.property(
        fc.array(member, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 5 }),
        (members, chunkSizes) => {
          const archive = buildTar(
            members.flatMap(({ long, ...rest }): TestMember[] =>
              long === 'gnu'
                ? [gnuLong('L', rest.name), { ...rest, name: 'short', flag: '7', magic: 'gnu' }]
                : [{ ...rest, name: 'short', flag: '7', magic: 'gnu', pax: [['path', rest.name]] }],
            ),
          );
          const read = readAll(archive, chunkSizes);
          expect(
            read.map(({ entry: { name, uid, mode, mtime }, content }) => [name, uid, mode, mtime.seconds, content]),
          ).toEqual(members.map(({ name, uid, mode, mtime, data }) => [name, uid, mode, mtime, data]));
        },
      ),
      { numRuns: 100 },
    );
  });

  it('of random damage is read or refused, and nothing else', () => {
    const archive = buildTar([
      { name: 'a', data: Buffer.alloc(600), pax: [['mtime', '1.5']] },
      gnuLong('L', 'b'.repeat(200)),
      { name: 'b', flag: '5' },
      {
        name: 'x',
        data: Buffer.from('ab'),
        pax: [
          ['GNU.sparse.size', '9'],
          ['GNU.sparse.map', '1,1,5,1'],
        ],
      },
    ]);
    const damage = fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(damage, fc.boolean(), fc.nat(archive.length), (changes, fix, length) => {
        const damaged = Buffer.from(archive.subarray(0, length));
        for (const [at, byte] of changes) if (at < length) damaged[at] = byte;
        // With right checksums the damage gets further in.
        if (fix) for (let at = 0; at + 512 <= length; at += 512) restoreChecksum(damaged.subarray(at, at + 512));
        try {
          readAll(damaged, [700]);
        } catch (error) {
          expect(error).toBeInstanceOf(TarFormatError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

function restoreChecksum(block: Buffer): void {
  if (block.toString('latin1', 257, 262) !== 'ustar') return;
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}
