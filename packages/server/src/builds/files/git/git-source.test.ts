import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DarkroomError } from '../../../platform/errors.ts';
import { isGitSource, readGitSource } from './git-source.ts';
import { type Packet, packet, readPackets } from './pkt-line.ts';
import { submoduleRepository } from './submodule-url.ts';

const read = (text: string, checksum?: string) => readGitSource(0, text, { checksum, keepGitDir: false });
const COMMIT = 'a'.repeat(40);

describe('a git source', () => {
  test.each([
    ['https://h/a.git', {}],
    ['https://h/a.git#main', { ref: 'main' }],
    ['https://h/a.git#:sub/dir', { subdir: 'sub/dir' }],
    ['https://h/a.git#v1:./sub//dir/', { ref: 'v1', subdir: 'sub/dir' }],
    ['https://h/a.git#refs/pull/1/head', { ref: 'refs/pull/1/head' }],
    ['https://h/a.git?branch=x&subdir=y', { ref: 'x', refIs: 'branch', subdir: 'y' }],
    [
      'https://h/a.git?tag=x&keep-git-dir=true&submodules=false',
      { ref: 'x', refIs: 'tag', keepGitDir: true, submodules: false },
    ],
    [`https://h/a.git?commit=${COMMIT}`, { ref: COMMIT, commit: COMMIT }],
    [`https://h/a.git?tag=x&checksum=${COMMIT.slice(0, 8)}`, { ref: 'x', commit: COMMIT.slice(0, 8) }],
  ])('%s', (text, expected) => {
    const source = read(text);
    expect(source).toMatchObject({ ref: undefined, subdir: '', submodules: true, keepGitDir: false, ...expected });
    expect(source.repository.href).toBe('https://h/a.git');
  });

  test.each([
    'https://h/a.git?depth=1',
    'https://h/a.git?ref=a&branch=b',
    'https://h/a.git?ref=a#b',
    'https://h/a.git#a..b',
    'https://h/a.git#-a',
    'https://h/a.git#a%20b',
    'https://h/a.git#:../x',
    'https://h/a.git#:.git/x',
    'https://h/a.git?commit=xyz',
    'https://h/a.git?submodules=maybe',
    'https://h:bad/a.git',
    'git@h:a/b.git',
    'git://h/a.git',
  ])('%s is refused', (text) => expect(() => read(text)).toThrow(DarkroomError));

  test('is any text that looks like one, or is refused without its secrets', () => {
    const pieces = fc.constantFrom(
      'https://',
      'user:s3cret@',
      'h',
      '/a',
      '.git',
      '#',
      '?',
      'ref=',
      '&',
      ':',
      '%',
      '..',
      'x',
      '\0',
      '\n',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 10 }), (parts) => {
        const text = `https://user:s3cret@${parts.join('')}`;
        if (!isGitSource(text)) return;
        try {
          const { subdir } = read(text);
          expect(subdir.split('/')).not.toContain('..');
        } catch (error) {
          expect(error).toBeInstanceOf(DarkroomError);
          if (parts.indexOf('user:s3cret@') === -1) expect(String(error)).not.toContain('s3cret');
        }
      }),
    );
  });
});

describe('submodules', () => {
  const parent = new URL('https://user:pass@h/group/a.git');
  test.each([
    ['../b.git', 'https://user:pass@h/group/b.git'],
    ['./b.git', 'https://user:pass@h/group/a.git/b.git'],
    ['https://h/c.git', 'https://user:pass@h/c.git'],
    ['https://other/c.git', 'https://other/c.git'],
  ])('%s is at %s', (url, expected) => expect(submoduleRepository(parent, url, 'x').href).toBe(expected));

  test.each(['http://h/c.git', 'git@h:c.git', '/c.git', 'file:///etc', '', undefined])('%s is refused', (url) =>
    expect(() => submoduleRepository(parent, url, 'x')).toThrow('its submodule "x"'),
  );
});

describe('lines of the protocol', () => {
  async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const readAll = async (bytes: Buffer, size: number) => {
    const packets: Packet[] = [];
    for await (const each of readPackets(pieces(bytes, size))) packets.push(each);
    return packets;
  };

  test('are read however they come', async () => {
    const line = fc.oneof(fc.constantFrom('0000', '0001', '0002'), fc.string({ maxLength: 30 }).map(packet));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 10 }), fc.integer({ min: 1, max: 40 }), async (lines, size) => {
        const packets = await readAll(Buffer.from(lines.join('')), size);
        const again = packets.map((each) =>
          each.kind === 'data'
            ? packet(each.bytes.toString())
            : { flush: '0000', delimiter: '0001', end: '0002' }[each.kind],
        );
        expect(again.join('')).toBe(lines.join(''));
      }),
    );
  });

  test('what is none, or is cut, is refused', async () => {
    for (const text of ['000', 'xxxx', '0003', '0008ab', '<html>'])
      await expect(readAll(Buffer.from(text), 3)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
