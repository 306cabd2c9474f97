import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { MIB, shell } from '../testing/sandbox-lab.ts';
import { ATTACKER, type EscapeLab, expectUnharmed, NEIGHBOUR, openEscapeLab } from './escape-lab.ts';

/* Disks have their own tests where their limits are; so has the network. */
let lab: EscapeLab;
beforeAll(async () => {
  lab = await openEscapeLab();
});
afterEach(() => expectUnharmed(lab));
afterAll(() => lab?.close());

const PIDS = 128;

test('a fork bomb stays in its sandbox, which can be stopped', async () => {
  await lab.start('bomb');
  const bomb = await lab.runtime.exec('bomb', shell('f() { f | f & f; }; f'));
  bomb.stdin.end();
  bomb.stdout.resume();
  bomb.stderr.resume();
  const outcomes = await lab.attempts(
    NEIGHBOUR,
    `note('forks', sum(1 for _ in range(50) if os.fork() > 0 or os._exit(0)))`,
  );
  expect(outcomes).toEqual({ forks: '50' });
  await lab.runtime.remove('bomb');
  await bomb.exited.catch(() => undefined);
});

test('threads count as processes do', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
import threading
over = threading.Event()
count = 0
try:
  while count < 1000:
    threading.Thread(target=over.wait, daemon=True).start()
    count += 1
except RuntimeError: pass
note('few', count < ${PIDS})
print(json.dumps(outcomes), flush=True)
os._exit(0)`,
  );
  expect(outcomes).toEqual({ few: 'True' });
});

test('memory is bounded in all its forms: of a process, shared, without a name, in files of /dev', async () => {
  const forms = {
    process: `held = [bytearray(8 << 20) for _ in range(100)]`,
    'shared memory': `open('/dev/shm/fill', 'wb').write(b'x' * (400 << 20))`,
    'System V': `a = libc.shmget(0, 400 << 20, 0o1600); libc.shmat.restype = ctypes.c_void_p; ctypes.memset(libc.shmat(a, 0, 0), 1, 400 << 20)`,
    memfd: `f = os.memfd_create('x'); [os.write(f, b'x' * (4 << 20)) for _ in range(100)]`,
    dev: `open('/dev/fill', 'wb').write(b'x' * (400 << 20))`,
  };
  for (const [form, script] of Object.entries(forms)) {
    const id = 'glutton';
    await lab.start(id, {
      layers: [lab.baseLayer, lab.pythonLayer],
      limits: { cpu: 1, memoryBytes: 128 * MIB, pids: PIDS },
    });
    const end = await lab
      .attempts(id, `attempt('fill', lambda: exec(${JSON.stringify(script)}, globals()))`)
      .catch(() => ({ fill: 'killed' }));
    expect([form, end.fill]).not.toEqual([form, 'done']);
    await lab.runtime.remove(id);
  }
});

test('descriptors are bounded, and a full table of one sandbox is no other’s', async () => {
  const take = `
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
  while len(held) < 200000: held.append(os.dup(0))
except OSError: pass
`;
  const release = await lab.background(ATTACKER, take);
  try {
    expect(await lab.attempts(NEIGHBOUR, `attempt('open', lambda: [open('/etc/passwd') for _ in range(500)])`)).toEqual(
      { open: 'done' },
    );
    expect((await lab.sh(ATTACKER, 'echo on')).stdout).toBe('on\n');
  } finally {
    await release();
  }
});

test('output that nobody reads makes its writer wait, and costs the server nothing', async () => {
  const flood = await lab.runtime.exec(ATTACKER, shell('yes | head -c 1000000000; echo never'));
  expect((await lab.sh(NEIGHBOUR, 'echo on')).stdout).toBe('on\n');
  expect(flood.stdout.readableLength).toBeLessThan(MIB);
  await flood.killTree();
});
