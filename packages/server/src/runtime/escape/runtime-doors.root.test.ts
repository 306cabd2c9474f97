import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import { findProgram } from '../../platform/find-program.ts';
import { finish, root } from '../testing/sandbox-lab.ts';
import { ATTACKER, type EscapeLab, expectUnharmed, openEscapeLab } from './escape-lab.ts';

const SECRET = 'of-the-server-alone';

let lab: EscapeLab;
let programs: string[];
beforeAll(async () => {
  process.env.DARKROOM_ESCAPE_TEST = SECRET;
  lab = await openEscapeLab();
  programs = await hashes();
});
afterEach(async () => {
  await expectUnharmed(lab);
  expect(await hashes()).toEqual(programs);
});
afterAll(async () => {
  delete process.env.DARKROOM_ESCAPE_TEST;
  await lab?.close();
});

/** Of every program of the host that comes near a sandbox. */
function hashes(): Promise<string[]> {
  const paths = [
    findProgram('crun'),
    `${lab.poolRoot}/runtime/tools/tini`,
    `${lab.poolRoot}/runtime/tools/init`,
    process.execPath,
  ];
  return Promise.all(
    paths.map(async (path) =>
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    ),
  );
}

const command = (argv: string[], cwd = '/') => finish(lab.runtime, ATTACKER, { argv, env: {}, cwd, user: root });

test('a working directory that is a descriptor of the runtime’s leads nowhere', async () => {
  await lab.sh(ATTACKER, 'ln -sfn /proc/self/fd /tmp/fd');
  const reached: string[] = [];
  for (let fd = 0; fd < 16; fd += 1) {
    // By the root of pid 1, a path that the server cannot follow to its end, as one that is swapped behind its look.
    const names = [`/proc/self/fd/${fd}`, `/tmp/fd/${fd}`, `/proc/1/fd/${fd}`, `/proc/self/fd/${fd}/../..`];
    for (const cwd of names.flatMap((name) => [name, `/proc/1/root${name}`])) {
      const { exitCode, stdout } = await command(['/bin/sh', '-c', 'ls -a . .. ../.. ../../..'], cwd).catch(
        (error) => ({
          exitCode: errnoOf(error) === 'invalid_request' ? 1 : -1,
          stdout: messageOf(error),
        }),
      );
      if (exitCode !== 1) reached.push(`${cwd}: ${exitCode} ${stdout}`);
    }
  }
  expect(reached).toEqual([]);
});

test('commands that are the runtime’s own executable run nothing of the host’s', async () => {
  const marker = 'ran as expected';
  await lab.sh(
    ATTACKER,
    `cd /tmp; printf '#!/proc/self/exe\\n' > own; chmod 755 own; ln -sfn /proc/self/exe link; ln -sfn /proc/1/exe first
for fd in 0 1 2 3 4 5 6 7 8 9; do ln -sfn /proc/self/fd/$fd fd$fd; done`,
  );
  const commands = ['/proc/self/exe', '/proc/1/exe', '/tmp/own', '/tmp/link', '/tmp/first', '/proc/thread-self/exe'];
  for (const name of [...commands, ...Array.from({ length: 10 }, (_, fd) => `/tmp/fd${fd}`)]) {
    const result = await command([name, '--version']).catch((error) => ({ stdout: '', stderr: messageOf(error) }));
    expect([name, /crun|libcrun/i.test(result.stdout)]).toEqual([name, false]);
  }
  expect((await command(['/bin/echo', marker])).stdout).toBe(`${marker}\n`);
});

test('a process that waits for the runtime to come in can neither write nor read its executable', async () => {
  const release = await lab.background(
    ATTACKER,
    `
import threading
seen = {}
def look():
  while True:
    for pid in os.listdir('/proc'):
      if not pid.isdigit() or int(pid) == os.getpid(): continue
      for what, flags in (('exe', os.O_RDWR), ('exe', os.O_WRONLY), ('exe', os.O_PATH)):
        try:
          fd = os.open('/proc/%s/%s' % (pid, what), flags)
          target = os.readlink('/proc/self/fd/%d' % fd)
          if flags != os.O_PATH or 'crun' in target: seen[(target, flags)] = True
          os.close(fd)
        except OSError: pass
      try:
        for fd in os.listdir('/proc/%s/fd' % pid):
          target = os.readlink('/proc/%s/fd/%s' % (pid, fd))
          if target.startswith('/') and not target.startswith(('/dev/', '/proc', '/usr/', '/tmp')): seen[(target, int(fd))] = True
      except OSError: pass
    open('/tmp/new', 'w').write(repr(sorted(map(str, seen))))
    os.rename('/tmp/new', '/tmp/seen')
threading.Thread(target=look, daemon=True).start()
while not os.path.exists('/tmp/seen'): time.sleep(0.01)
`,
  );
  try {
    for (let times = 0; times < 25; times += 1) await command(['/bin/true']);
    expect((await command(['/bin/cat', '/tmp/seen'])).stdout).toBe('[]');
  } finally {
    await release();
  }
});

test('pid 1, a command and what it leaves in the background have three streams open and nothing else', async () => {
  const list = 'for pid in 1 $$ self; do ls /proc/$pid/fd; done; (sleep 0.1; ls -l /proc/self/fd) & wait';
  const { stdout } = await lab.sh(ATTACKER, list);
  expect(stdout).not.toMatch(/darkroom|crun|\/run\/|cgroup|socket:/);
  const { stdout: background } = await lab.sh(ATTACKER, `sh -c 'ls /proc/$$/fd; true' & wait`);
  expect(background.trim().split('\n')).toEqual(['0', '1', '2']);
});

test('a terminal gives nothing but itself: nothing else is open, and nobody types for others', async () => {
  const terminal = await lab.runtime.openTerminal(ATTACKER, {
    argv: ['/usr/bin/python3', '-c', TERMINAL],
    env: {},
    cwd: '/',
    user: root,
    cols: 200,
    rows: 50,
  });
  const shown = await text(terminal.stream);
  expect(shown.trim().split(/\r?\n/)).toEqual([
    "['0', '1', '2']",
    'TIOCSTI 1',
    'TIOCSTI in disguise 1',
    'TIOCLINUX 1',
    '/dev/pts',
  ]);
});

const TERMINAL = `
import ctypes, os
print([fd for fd in sorted(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self/fd/' + fd)])
libc = ctypes.CDLL(None, use_errno=True)
for name, request in (('TIOCSTI', 0x5412), ('TIOCSTI in disguise', 0x5412 | 1 << 32), ('TIOCLINUX', 0x541c)):
  libc.syscall(${process.arch === 'arm64' ? 29 : 16}, 0, ctypes.c_long(request), b'x')
  print(name, ctypes.get_errno())
print(os.path.dirname(os.ttyname(0)))
`;

test('the server’s environment is nowhere', async () => {
  expect((await command(['/bin/env'])).stdout.split('\n').filter(Boolean).sort()).toEqual([
    'HOME=/root',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  ]);
  expect((await lab.sh(ATTACKER, 'cat /proc/*/environ /proc/*/cmdline')).stdout).not.toContain(SECRET);
});

test('a shell or a loader that was replaced between two commands runs inside and not elsewhere', async () => {
  await lab.start('victim', { layers: [lab.baseLayer, lab.pythonLayer] });
  await lab.sh('victim', 'cp /bin/busybox /bin/busybox-was; ln -sf /proc/self/exe /bin/busybox');
  const result = await finish(lab.runtime, 'victim', { argv: ['/bin/sh', '-c', 'id'], env: {}, cwd: '/', user: root });
  expect(result.stdout).not.toContain('crun');
  expect(
    (await finish(lab.runtime, 'victim', { argv: ['/bin/busybox-was', 'id', '-u'], env: {}, cwd: '/', user: root }))
      .stdout,
  ).toBe('0\n');
  await lab.runtime.remove('victim');
});
