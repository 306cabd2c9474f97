import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ATTACKER, type EscapeLab, expectUnharmed, NEIGHBOUR, openEscapeLab } from './escape-lab.ts';

let lab: EscapeLab;
beforeAll(async () => {
  lab = await openEscapeLab();
});
afterEach(() => expectUnharmed(lab));
afterAll(() => lab?.close());

const app = { uid: 1000, gid: 1000, additionalGids: [], home: '/home/app', name: 'app' };

test('processes of the host and of the neighbour are not there: not to see, signal, trace or read', async () => {
  const pids = (await lab.runtime.list()).flatMap(({ id, pid }) =>
    id === NEIGHBOUR && pid !== undefined ? [pid] : [],
  );
  const outcomes = await lab.attempts(
    ATTACKER,
    `
buffer = ctypes.create_string_buffer(64)
vector = struct.pack('QQ', ctypes.addressof(buffer), 64)
remote = struct.pack('QQ', 0x400000, 64)
for pid in [${[...pids, process.pid, process.ppid].join(', ')}]:
  attempt('kill %d' % pid, lambda: os.kill(pid, 0))
  attempt('pidfd %d' % pid, lambda: call('pidfd_open', pid, 0))
  attempt('ptrace %d' % pid, lambda: call('ptrace', 16, pid, 0, 0))
  attempt('seize %d' % pid, lambda: call('ptrace', 0x4206, pid, 0, 0))
  attempt('read %d' % pid, lambda: call('process_vm_readv', pid, vector, 1, remote, 1, 0))
  attempt('write %d' % pid, lambda: call('process_vm_writev', pid, vector, 1, remote, 1, 0))
  attempt('limits %d' % pid, lambda: __import__('resource').prlimit(pid, 7))
  attempt('priority %d' % pid, lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
  attempt('see %d' % pid, lambda: os.stat('/proc/%d' % pid))
`,
  );
  const done = Object.entries(outcomes).filter(
    ([, outcome]) => !['ESRCH', 'ENOENT', 'ProcessLookupError'].includes(outcome),
  );
  expect(done).toEqual([]);
});

test('no process of a sandbox is in a session of the server’s, whose terminal it would have', async () => {
  const session = async (pid: number) =>
    (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ')[3];
  const script = `attempt('terminal', lambda: os.open('/dev/tty', os.O_RDWR))
note('group', os.getpgid(0) > 0)`;
  expect(await lab.attempts(ATTACKER, script)).toMatchObject({ terminal: 'ENXIO', group: 'True' });

  const pid = (await lab.runtime.list()).find(({ id }) => id === ATTACKER)?.pid ?? 0;
  const namespace = await readlink(`/proc/${pid}/ns/pid`);
  const release = await lab.background(ATTACKER, '');
  try {
    const own = await session(process.pid);
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const inside = [];
    for (const candidate of pids) {
      const link = await readlink(`/proc/${candidate}/ns/pid`).catch(() => '');
      if (link === namespace) inside.push(await session(candidate));
    }
    expect(inside.length).toBeGreaterThan(2);
    expect(inside).not.toContain(own);
  } finally {
    await release();
  }
});

test('a kill of everything ends nothing but the sandbox’s own', async () => {
  await lab.sh(ATTACKER, 'sleep 1000 >/dev/null 2>&1 &');
  const process = await lab.runtime.exec(ATTACKER, {
    argv: ['/bin/sh', '-c', 'trap "" TERM; kill -TERM -1; kill -KILL -1; true'],
    env: {},
    cwd: '/',
    user: { ...app, uid: 0, gid: 0 },
  });
  process.stdout.resume();
  process.stderr.resume();
  await process.exited;
  expect((await lab.sh(ATTACKER, 'ps | grep -c "[s]leep 1000"')).stdout.trim()).toBe('0');
});

test('System V objects, message queues, abstract sockets and shared memory are each sandbox’s own', async () => {
  const name = `darkroom-escape-${process.pid}`;
  const server = createServer().listen(`\0${name}`);
  const create = `
import socket
note('shm', libc.shmget(0x1234, 4096, 0o1666) >= 0)
note('sem', libc.semget(0x1234, 1, 0o1666) >= 0)
note('msg', libc.msgget(0x1234, 0o1666) >= 0)
note('queue', libc.mq_open(b'/canary', os.O_CREAT | os.O_RDWR, 0o666, None) >= 0)
`;
  const release = await lab.background(
    NEIGHBOUR,
    `${create}\nopen('/dev/shm/open', 'w').close()\nlistener = socket.socket(socket.AF_UNIX)\nlistener.bind('\\0canary')\nlistener.listen()`,
  );
  try {
    const outcomes = await lab.attempts(
      ATTACKER,
      `
import socket
note('shm', libc.shmget(0x1234, 0, 0))
note('sem', libc.semget(0x1234, 0, 0))
note('msg', libc.msgget(0x1234, 0))
note('queue', libc.mq_open(b'/canary', os.O_RDWR))
note('files', os.listdir('/dev/shm'))
attempt('abstract', lambda: socket.socket(socket.AF_UNIX).connect('\\0canary'))
attempt('abstract of the host', lambda: socket.socket(socket.AF_UNIX).connect('\\0${name}'))
`,
    );
    expect(outcomes).toEqual({
      shm: '-1',
      sem: '-1',
      msg: '-1',
      queue: '-1',
      files: '[]',
      abstract: 'ECONNREFUSED',
      'abstract of the host': 'ECONNREFUSED',
    });
  } finally {
    await release();
    server.close();
  }
});

test('a program with a set-user-id bit gives no rights, and neither do file capabilities', async () => {
  await lab.sh(ATTACKER, 'cp /usr/bin/python3 /tmp/suid && chmod 6755 /tmp/suid');
  const script = 'import os; print(os.geteuid(), os.getegid()); os.setuid(0)';
  const result = await lab.sh(ATTACKER, `/tmp/suid -c '${script}'`, { user: app });
  expect([result.stdout, result.exitCode]).toEqual(['1000 1000\n', 1]);
  expect(result.stderr).toContain('Operation not permitted');
});

test('a crash leaves no core, neither in the sandbox nor with the host', async () => {
  const { stdout } = await lab.sh(
    ATTACKER,
    'cd /tmp; ulimit -c unlimited 2>/dev/null; sh -c "kill -SEGV \\$\\$"; ls | grep core; true',
  );
  expect(stdout.trim()).toBe('');
});
