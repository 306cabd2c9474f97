import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import { ATTACKER, type EscapeLab, NEIGHBOUR, openEscapeLab } from './escape-lab.ts';

/*
 * All sandboxes have the same ids on the host, and the kernel counts some things for each user: whoever takes all there is of
 * them must take it from itself alone.
 */
let lab: EscapeLab;
beforeAll(async () => {
  lab = await openEscapeLab();
});
afterAll(() => lab?.close());

/** Takes until the kernel says no, and says how many there were. */
const TAKE_ALL = `
import signal
class Attributes(ctypes.Structure):
  _fields_ = [(name, ctypes.c_long) for name in ('flags', 'count', 'size', 'current', 'a', 'b', 'c', 'd')]
queue = Attributes(0, 10, 8192, 0)
def watch(_):
  return libc.inotify_init()
def message_queue(i):
  return libc.mq_open(b'/queue%d' % i, os.O_CREAT | os.O_RDWR, 0o600, ctypes.byref(queue))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
def pending_signal(_):
  return libc.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(0))
def take(kind, limit):
  taken = 0
  while taken < limit and kind(taken) >= 0:
    taken += 1
  return taken
`;

test('inotify instances, message queues and pending signals of one sandbox are no other’s and not the host’s', async () => {
  const release = await lab.background(
    ATTACKER,
    `${TAKE_ALL}
take(watch, 100000)
take(message_queue, 100000)
take(pending_signal, 300000)`,
  );
  try {
    const outcomes = await lab.attempts(
      NEIGHBOUR,
      `${TAKE_ALL}
note('inotify', take(watch, 64))
note('queues', take(message_queue, 5))
note('signals', take(pending_signal, 1000))`,
    );
    expect(outcomes).toEqual({ inotify: '64', queues: '5', signals: '1000' });
    const host = `import ctypes, os, sys\nlibc = ctypes.CDLL(None)\n${TAKE_ALL}\nprint(take(watch, 16), take(pending_signal, 1000))`;
    const { stdout } = await run('/usr/bin/python3', ['-c', host], { timeoutMs: 20_000 });
    expect(stdout).toBe('16 1000\n');
  } finally {
    await release();
  }
});

test('terminals are bounded for each sandbox, by far less than the machine has', async () => {
  const release = await lab.background(
    ATTACKER,
    `
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
  while len(held) < 10000: held.append(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY))
except OSError: pass
open('/tmp/terminals', 'w').write(str(len(held)))`,
  );
  try {
    expect(Number((await lab.sh(ATTACKER, 'cat /tmp/terminals')).stdout)).toBeLessThanOrEqual(256);
    expect(await lab.attempts(NEIGHBOUR, `attempt('open', lambda: os.openpty())`)).toEqual({ open: 'done' });
  } finally {
    await release();
  }
});

test('a sandbox that ends gives back what it had', async () => {
  const { layers } = lab.spec('x');
  for (const id of ['first', 'second']) {
    await lab.start(id, { layers: [...layers, lab.pythonLayer] });
    expect(await lab.attempts(id, `${TAKE_ALL}\nnote('inotify', take(watch, 64))`)).toEqual({ inotify: '64' });
    await lab.runtime.remove(id);
  }
});

test('asynchronous I/O contexts, which the whole machine shares a number of, cannot be had', async () => {
  const script = `attempt('io_setup', lambda: call('io_setup', 1, (ctypes.c_ulong * 1)()))`;
  expect(await lab.attempts(ATTACKER, script)).toEqual({ io_setup: 'ENOSYS' });
});

test('no namespace can be made inside, by the count of the sandbox’s own as well', async () => {
  const { stdout } = await lab.sh(
    ATTACKER,
    'cd /proc/sys/user; cat max_user_namespaces max_net_namespaces max_time_namespaces; echo 9 > max_user_namespaces',
  );
  expect(stdout.trim().split('\n')).toEqual(['0', '0', '0']);
});
