import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ATTACKER, type EscapeLab, expectUnharmed, type Outcomes, openEscapeLab } from './escape-lab.ts';

let lab: EscapeLab;
beforeAll(async () => {
  lab = await openEscapeLab();
});
afterEach(() => expectUnharmed(lab));
afterAll(() => lab?.close());

/** Each attempt was refused, and with one of these errors; «done» is what must not be there. */
function expectRefused(outcomes: Outcomes, ...errors: string[]): void {
  const allowed = errors.length > 0 ? errors : ['EPERM'];
  expect(Object.entries(outcomes).filter(([, outcome]) => !allowed.includes(outcome))).toEqual([]);
  expect(Object.keys(outcomes).length).toBeGreaterThan(0);
}

test('nothing can be mounted, unmounted, remounted or moved, by old calls and new', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
os.makedirs('/tmp/m', exist_ok=True)
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
for kind in ('proc', 'sysfs', 'tmpfs', 'overlay', 'ext4', 'cgroup', 'cgroup2', 'devtmpfs', 'debugfs', 'securityfs', 'bpf', 'fuse'):
  options = b'lowerdir=/etc,upperdir=/tmp,workdir=/tmp' if kind == 'overlay' else b'user_id=0' if kind == 'fuse' else None
  attempt('mount ' + kind, lambda: call('mount', b'/dev/vda', b'/tmp/m', kind.encode(), 0, options))
  attempt('fsopen ' + kind, lambda: call('fsopen', kind.encode(), 0))
attempt('bind', lambda: call('mount', b'/etc', b'/tmp/m', None, MS_BIND, None))
for path in (b'/sys', b'/proc/sys', b'/proc/keys', b'/.darkroom', b'/sys/firmware', b'/proc'):
  attempt('remount writable ' + path.decode(), lambda: call('mount', None, path, None, MS_REMOUNT | MS_BIND, None))
  attempt('unmount ' + path.decode(), lambda: call('umount2', path, 2))
attempt('pivot_root', lambda: call('pivot_root', b'/tmp', b'/tmp/m'))
attempt('open_tree', lambda: call('open_tree', -100, b'/', 1))
attempt('move_mount', lambda: call('move_mount', -100, b'/proc', -100, b'/tmp/m', 0))
attempt('mount_setattr', lambda: call('mount_setattr', -100, b'/sys', 0, bytes(32), 32))
attempt('fsmount', lambda: call('fsmount', 0, 0, 0))
`,
  );
  expectRefused(outcomes);
});

test('no namespace can be made or entered', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
KINDS = dict(mnt=0x20000, cgroup=0x2000000, uts=0x4000000, ipc=0x8000000, user=0x10000000, pid=0x20000000, net=0x40000000, time=0x80)
for name, flag in KINDS.items():
  attempt('unshare ' + name, lambda: call('unshare', flag))
  if name != 'time':
    attempt('clone ' + name, lambda: call('clone', flag | 17, None, None, None, None))
    attempt('clone of a user namespace and ' + name, lambda: call('clone', flag | KINDS['user'] | 17, None, None, None, None))
  # A namespace of its own is the only one that it can name at all.
  own = '/proc/self/ns/' + name
  if os.path.exists(own):
    attempt('setns ' + name, lambda: call('setns', os.open(own, os.O_RDONLY), flag))
attempt('setns by pidfd', lambda: call('setns', call('pidfd_open', 1, 0), KINDS['mnt']))
`,
  );
  expectRefused(outcomes);
  const late = await lab.attempts(ATTACKER, `attempt('clone3', lambda: call('clone3', bytes(88), 88))`);
  expect(late).toEqual({ clone3: 'ENOSYS' });
});

test('what is the whole machine’s cannot be reached by any call', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
attempt('clock_settime', lambda: call('clock_settime', 0, struct.pack('qq', 0, 0)))
attempt('settimeofday', lambda: call('settimeofday', struct.pack('qq', 0, 0), None))
attempt('adjtimex', lambda: call('adjtimex', struct.pack('I', 1) + bytes(204)))
attempt('reboot', lambda: call('reboot', 0xfee1dead, 672274793, 0x0, None))
attempt('sethostname', lambda: call('sethostname', b'x', 1))
attempt('setdomainname', lambda: call('setdomainname', b'x', 1))
attempt('swapon', lambda: call('swapon', b'/tmp/swap', 0))
attempt('swapoff', lambda: call('swapoff', b'/tmp/swap'))
attempt('init_module', lambda: call('init_module', b'', 0, b''))
attempt('finit_module', lambda: call('finit_module', 0, b'', 0))
attempt('delete_module', lambda: call('delete_module', b'loop', 0))
attempt('kexec_load', lambda: call('kexec_load', 0, 0, None, 0))
attempt('kexec_file_load', lambda: call('kexec_file_load', 0, 0, 0, b'', 0))
attempt('bpf', lambda: call('bpf', 0, bytes(128), 128))
attempt('perf_event_open', lambda: call('perf_event_open', bytes(128), 0, -1, -1, 0))
attempt('userfaultfd', lambda: call('userfaultfd', 0))
attempt('userfaultfd for user mode', lambda: call('userfaultfd', 1))
attempt('io_uring', lambda: call('io_uring_setup', 1, bytes(120)))
attempt('acct', lambda: call('acct', b'/tmp/acct'))
attempt('quotactl', lambda: call('quotactl', 0, b'/dev/vda', 0, None))
attempt('syslog', lambda: call('syslog', 3, bytes(16), 16))
attempt('fanotify', lambda: call('fanotify_init', 0, 0))
attempt('open_by_handle_at', lambda: call('open_by_handle_at', os.open('/', os.O_RDONLY), struct.pack('Ii', 8, 1) + struct.pack('II', 2, 0), os.O_RDONLY))
attempt('personality with readable addresses', lambda: call('personality', 0x0040000))
if not ARM:
  attempt('iopl', lambda: call('iopl', 3))
  attempt('ioperm', lambda: call('ioperm', 0, 1, 1))
`,
  );
  expectRefused(outcomes);
});

test('keys are nobody’s: they are not told apart by namespaces', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
attempt('add_key', lambda: call('add_key', b'user', b'canary', b'secret', 6, -4))
attempt('request_key', lambda: call('request_key', b'user', b'canary', None, -4))
for what in range(0, 33):
  attempt('keyctl %d' % what, lambda: call('keyctl', what, -3, 0, 0, 0))
`,
  );
  expectRefused(outcomes);
  expect((await lab.sh(ATTACKER, 'cat /proc/keys /proc/key-users')).stdout).toBe('');
});

test('sockets are local, internet and a little netlink; nothing raw, and nothing of the machine below', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
for family in range(0, 50):
  if family in (1, 2, 10, 16): continue
  for kind in (1, 2, 3, 5):
    attempt('family %d kind %d' % (family, kind), lambda: call('socket', family, kind, 0))
    attempt('family %d kind %d in disguise' % (family, kind), lambda: call('socket', family | 1 << 32, kind, 0))
for protocol in (1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 19, 20, 21, 22):
  if protocol != 9: attempt('netlink %d' % protocol, lambda: call('socket', 16, 3, protocol))
  attempt('netlink %d in disguise' % protocol, lambda: call('socket', 16, 3, protocol | 1 << 32))
for family in (2, 10):
  for protocol in (1, 2, 6, 17, 58, 89, 132, 255):
    attempt('raw %d %d' % (family, protocol), lambda: call('socket', family, 3, protocol))
    attempt('raw %d %d in disguise' % (family, protocol), lambda: call('socket', family, 3, protocol | 1 << 32))
# The routes and neighbours of its own namespace: without the right over it, nothing changes there.
import socket
def route(kind, body):
  link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
  message = struct.pack('IHHII', 16 + len(body), kind, 0x605, 1, 0) + body
  link.send(message)
  error = struct.unpack('i', link.recv(4096)[16:20])[0]
  if error: raise OSError(-error, '')
attempt('neighbour', lambda: route(28, struct.pack('BBHiHBB', 2, 0, 0, 2, 2, 0, 0)))
attempt('route', lambda: route(24, struct.pack('BBBBBBBBI', 2, 32, 0, 0, 254, 4, 0, 1, 0)))
attempt('link', lambda: route(16, struct.pack('BBHiII', 0, 0, 0, 0, 0, 0)))
`,
  );
  expectRefused(outcomes);
  // As where the kernel has none, which is what useradd and its like can live with.
  const audit = await lab.attempts(ATTACKER, `attempt('audit', lambda: call('socket', 16, 3, 9))`);
  expect(audit).toEqual({ audit: 'EINVAL' });
});

test('what ordinary programs need of all that is there', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
import socket, threading, subprocess, mmap
attempt('tcp', lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt('udp6', lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
attempt('unix', lambda: socket.socketpair())
attempt('routes', lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
attempt('interfaces', lambda: socket.if_nameindex())
attempt('thread', lambda: threading.Thread(target=lambda: None).start())
attempt('process', lambda: subprocess.run(['/bin/true'], check=True))
attempt('memory', lambda: mmap.mmap(-1, 4096))
attempt('memfd', lambda: os.memfd_create('x'))
attempt('fchmodat2', lambda: call(452, -100, b'/tmp', 0o1777, 0))
attempt('terminal', lambda: os.openpty())
def trace():
  child = os.fork()
  if child == 0:
    call('ptrace', 0, 0, 0, 0)
    os._exit(0)
  os.waitpid(child, 0)
attempt('trace of a child', trace)
`,
  );
  expectRefused(outcomes, 'done');
  expect((await readFile('/proc/sys/kernel/hostname', 'utf8')).trim()).not.toBe('x');
});
