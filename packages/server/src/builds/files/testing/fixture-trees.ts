import { execFileSync } from 'node:child_process';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { buildTar, type TestMember } from '../../../images/tar/testing/build-tar.ts';

/** Trees that the cases of COPY and ADD work on. All times are long ago, so that what is made now can be told. */
const OLD = 1_500_000_000;

const directory = (name: string, rest: Partial<TestMember> = {}): TestMember => ({
  name: `${name}/`,
  flag: '5',
  mode: 0o755,
  mtime: OLD,
  ...rest,
});
const file = (name: string, text: string, rest: Partial<TestMember> = {}): TestMember => ({
  name,
  data: Buffer.from(text),
  mode: 0o644,
  mtime: OLD + 1,
  ...rest,
});
const link = (name: string, linkName: string, rest: Partial<TestMember> = {}): TestMember => ({
  name,
  flag: '2',
  linkName,
  mode: 0o777,
  mtime: OLD + 2,
  ...rest,
});
const hard = (name: string, linkName: string, rest: Partial<TestMember> = {}): TestMember => ({
  name,
  flag: '1',
  linkName,
  mode: 0o644,
  mtime: OLD + 1,
  ...rest,
});

/** Below each target of a case. */
export const BASE: readonly TestMember[] = [
  directory('work'),
  directory('full', { mode: 0o2750, uid: 7, gid: 8 }),
  file('full/old', 'old'),
  file('full/one.txt', 'before', { mode: 0o600, uid: 5, gid: 5 }),
  directory('full/sub', { mode: 0o700, uid: 9, gid: 9 }),
  file('full/sub/kept', 'kept'),
  directory('tmp', { mode: 0o1777 }),
  directory('usr/lib', { uid: 3 }),
  file('usr/lib/libc', 'libc'),
  link('lib', 'usr/lib'),
  link('to-file', 'full/old'),
  link('to-nothing', 'made/later'),
  link('up', '../../../../../../etc'),
  link('loop', 'loop'),
  file('file', 'a file'),
  directory('replaced'),
  file('replaced/inside', 'inside'),
];

/** The same in several directories at once. */
export function basesIn(directories: readonly string[]): TestMember[] {
  return directories.flatMap((directory) =>
    BASE.map((member) => ({ ...member, name: Buffer.from(`${directory}/${member.name.toString()}`) })),
  );
}

/** At the root of the stage that is copied into. */
export const ACCOUNTS: readonly TestMember[] = [
  directory('etc'),
  file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\napp:x:1001:1002:App:/home/app:/bin/sh\n'),
  file('etc/group', 'root:x:0:\napp:x:1002:\nstaff:x:50:app\n'),
];

export const CONTEXT: readonly TestMember[] = [
  file('one.txt', 'one', { mode: 0o640 }),
  file('two.txt', 'two'),
  file('three.md', 'three'),
  file('run.sh', '#!/bin/sh\n', { mode: 0o4755 }),
  file('with space', 'space'),
  file('[brackets]', 'brackets'),
  file('ünïcode', 'unicode'),
  directory('dir', { mode: 0o750 }),
  file('dir/a.txt', 'a'),
  file('dir/b.md', 'b'),
  file('dir/.hidden', 'hidden'),
  directory('dir/sub', { mode: 0o711 }),
  file('dir/sub/c.txt', 'c'),
  directory('dir/sub/deep'),
  file('dir/sub/deep/d.txt', 'd', { mode: 0o400 }),
  directory('dir/empty', { mode: 0o1777 }),
  link('dir/link', 'a.txt'),
  link('dir/dangling', 'nowhere'),
  link('dir/absolute', '/etc/passwd'),
  link('dir/linked-dir', 'sub'),
  hard('dir/hard', 'dir/a.txt'),
  directory('other'),
  file('other/a.txt', 'other a'),
  directory('other/sub', { mode: 0o700 }),
  file('other/sub/c.txt', 'other c'),
  link('link-to-file', 'one.txt', {}),
  link('link-to-dir', 'dir'),
  link('link-abs', '/dir/sub'),
  link('link-out', '../../../../dir/a.txt'),
  directory('conflict'),
  directory('conflict/file'),
  file('conflict/file/x', 'x'),
  directory('as-file'),
  file('as-file/full', 'not a directory'),
];

/** The stage that `--from` names. */
export const OTHER: readonly TestMember[] = [
  directory('opt', { mode: 0o751, uid: 11, gid: 12 }),
  file('opt/tool', 'tool', {
    mode: 0o755,
    uid: 11,
    gid: 12,
    pax: [['SCHILY.xattr.security.capability', Buffer.from(`0100000200200000${'00'.repeat(12)}`, 'hex')]],
  }),
  file('opt/suid', 'suid', { mode: 0o6755, uid: 1000, gid: 1000 }),
  hard('opt/suid-too', 'opt/suid', { mode: 0o6755, uid: 1000, gid: 1000 }),
  file('opt/noted', 'noted', { pax: [['SCHILY.xattr.user.note', 'a note']] }),
  { name: 'opt/pipe', flag: '6', mode: 0o640, uid: 4, mtime: OLD },
  link('opt/link', '/opt/tool', { uid: 6, gid: 6 }),
  directory('opt/sub', { uid: 21, gid: 22, mode: 0o700 }),
  file('opt/sub/x', 'x', { uid: 23, gid: 24 }),
  link('current', 'opt'),
];

/** What ADD unpacks. */
const ARCHIVE: readonly TestMember[] = [
  directory('./', { mode: 0o700, uid: 99 }),
  directory('arch', { mode: 0o2755, uid: 31, gid: 32 }),
  file('arch/f', 'in the archive', { mode: 0o4711, uid: 33, gid: 34 }),
  file('implied/parent/f', 'implied', { uid: 1 }),
  link('arch/link', 'f', { uid: 35 }),
  hard('arch/hard', 'arch/f', { mode: 0o4711, uid: 33, gid: 34 }),
  file('arch/.wh.name', 'no whiteout'),
  file('lib/added', 'through a symlink'),
  file('replaced', 'a file now'),
  directory('file', { mode: 0o711 }),
  file('file/inside', 'a directory now'),
  directory('full', { mode: 0o701, uid: 41 }),
  file('full/new', 'new'),
  { name: 'arch/pipe', flag: '6', mode: 0o600, mtime: OLD },
];

/** The context as a directory's files: archives of all kinds and what only looks like one. */
export function contextMembers(): TestMember[] {
  const plain = buildTar(ARCHIVE);
  const small = buildTar([file('small', 'small', { uid: 2 })]);
  const by = (program: string) => execFileSync(program, ['-c'], { input: plain });
  const blob = (name: string, data: Buffer): TestMember => ({ name, data, mode: 0o644, mtime: OLD + 3 });
  return [
    ...CONTEXT,
    directory('archives'),
    blob('archives/plain.tar', plain),
    blob('archives/a.tgz', gzipSync(plain)),
    blob('archives/no-suffix', zstdCompressSync(plain)),
    blob('archives/a.tar.bz2', by('bzip2')),
    blob('archives/a.tar.xz', by('xz')),
    blob('archives/small.tar', small),
    blob('archives/text.tar', Buffer.from('this is no archive')),
    blob('archives/text.gz', gzipSync('no archive in it')),
    blob('archives/empty.tar', buildTar([])),
    blob('archives/nothing', Buffer.alloc(0)),
    directory('.fixture'),
    blob('.fixture/base.tar', buildTar(BASE)),
    blob('.fixture/accounts.tar', buildTar(ACCOUNTS)),
    blob('.fixture/other.tar', buildTar(OTHER)),
  ];
}
