import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buildTar, type TestMember } from '../../../images/tar/testing/build-tar.ts';
import { run } from '../../../platform/process.ts';

/** Long ago, so that what a build makes can be told. */
const OLD = 1_400_000_000;

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

const ACCOUNTS: readonly TestMember[] = [
  // Builders mount over these, and may leave traces where they are missing.
  file('etc/hosts', ''),
  file('etc/resolv.conf', ''),
  file(
    'etc/passwd',
    [
      'root:x:0:0:root:/root:/bin/sh',
      'app:x:1000:1000:app:/home/app:/bin/sh',
      'member:x:1001:1000::/home/member:/bin/sh',
      '',
    ].join('\n'),
  ),
  file('etc/group', ['root:x:0:', 'app:x:1000:', 'staff:x:50:member', 'extra:x:60:app,member', ''].join('\n')),
];

/** What steps and copies work on. */
const LOWER: readonly TestMember[] = [
  directory('lower'),
  file('lower/file', 'lower\n'),
  directory('lower/dir'),
  file('lower/dir/a', 'a\n'),
  directory('lower/dir/sub', { mode: 0o711, uid: 5, gid: 6 }),
  link('lower/link', 'dir'),
  directory('lower/links'),
  file('lower/links/one', 'linked\n'),
  { name: 'lower/links/two', flag: '1', linkName: 'lower/links/one', mtime: OLD + 1 },
  directory('lower/tree', { mode: 0o750 }),
  file('lower/tree/leaf', 'leaf\n'),
  directory('lower/tree/branch'),
  file('lower/tree/branch/leaf', 'deep leaf\n', { uid: 1000, gid: 1000 }),
  directory('lower/setgid', { mode: 0o2775, gid: 50 }),
  file('lower/suid', 'suid\n', { mode: 0o4755 }),
  { name: 'lower/pipe', flag: '6', mode: 0o640, mtime: OLD },
  file('lower/noted', 'noted\n', { pax: [['SCHILY.xattr.user.note', 'a note']] }),
  directory('lower/noted-dir', { pax: [['SCHILY.xattr.user.note', 'a note']] }),
  file('lower/capped', 'capped\n', {
    mode: 0o755,
    pax: [['SCHILY.xattr.security.capability', Buffer.from(`0100000200200000${'00'.repeat(12)}`, 'hex')]],
  }),
  link('abs-link', '/lower/dir'),
];

/** The one layer of all base images: busybox with all its names, accounts, and a tree to work on. */
export async function baseLayerTar(): Promise<Buffer> {
  const { stdout } = await run('/usr/bin/busybox', ['--list'], { timeoutMs: 10_000 });
  const applets = stdout.split('\n').filter((name) => name !== '' && name !== 'busybox');
  const members = [
    ...['bin', 'etc', 'proc', 'dev', 'sys', 'usr', 'usr/bin', 'var', 'run', 'home'].map((name) => directory(name)),
    directory('root', { mode: 0o700 }),
    directory('home/app', { uid: 1000, gid: 1000 }),
    directory('tmp', { mode: 0o1777 }),
    { name: 'bin/busybox', data: readFileSync('/usr/bin/busybox'), mode: 0o755, mtime: OLD },
    ...applets.map((name) => link(`bin/${name}`, 'busybox')),
    ...ACCOUNTS,
    ...LOWER,
  ];
  // Each directory right before what is in it, or tools that unpack would change its time afterwards.
  return buildTar(members.sort((a, b) => (pathOf(a) < pathOf(b) ? -1 : 1)));
}

function pathOf({ name }: TestMember): string {
  return name.toString();
}

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What the images of one layer differ in, as an image config has it, by their names. */
export const BASE_CONFIGS = {
  'corpus.test/base': { Env: [PATH], Cmd: ['/bin/sh'] },
  'corpus.test/plain': {},
  'corpus.test/configured': {
    Env: [PATH, 'FROM_BASE=base', 'KEPT=a b'],
    Entrypoint: ['/entry', 'point'],
    Cmd: ['of', 'the base'],
    WorkingDir: '/lower/dir',
    User: 'app',
    Labels: { 'from.base': 'yes', one: 'base' },
    ExposedPorts: { '22/tcp': {}, '80/tcp': {} },
    Volumes: { '/one': {}, '/vol': {} },
    StopSignal: 'SIGUSR1',
    Shell: ['/bin/sh', '-ec'],
    Healthcheck: { Test: ['CMD', 'health'], Interval: 5_000_000_000, Retries: 2 },
  },
  'corpus.test/triggers': {
    Env: [PATH],
    Cmd: ['/bin/sh'],
    OnBuild: [
      'ARG GIVEN=none',
      'RUN echo "given $GIVEN" > /triggered',
      'COPY one.txt /from-trigger/',
      'ENV TRIGGERED=yes',
      'WORKDIR /later',
    ],
  },
} as const;

export type BaseName = keyof typeof BASE_CONFIGS;

export const BASE_NAMES: readonly BaseName[] = [
  'corpus.test/base',
  'corpus.test/plain',
  'corpus.test/configured',
  'corpus.test/triggers',
];

/** The config blob of one of the images. */
export function baseConfigBlob(name: BaseName, layerTar: Buffer): Buffer {
  return Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: BASE_CONFIGS[name],
      rootfs: { type: 'layers', diff_ids: [digestOf(layerTar)] },
      history: [{ created_by: 'base' }],
    }),
  );
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
