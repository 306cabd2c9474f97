import { runFilter } from './bpf.ts';

type Arch = 'x64' | 'arm64';

const AUDIT_ARCH: Record<Arch, number> = { x64: 0xc000003e, arm64: 0xc00000b7 };
/** An architecture that no sandbox may speak (s390). */
const FOREIGN_ARCH = 0x16;

const ALLOW = 0x7fff_0000;
const ERRNO = 0x0005_0000;
const EPERM = ERRNO | 1;
const ENOSYS = ERRNO | 38;
const EINVAL = ERRNO | 22;
const KILL_PROCESS = 0x8000_0000;
const KILL_THREAD = 0;

/** Numbers from the kernel's tables of these calls: enough of them to tell this filter from any other. */
const NUMBERS: Record<Arch, Record<string, number>> = {
  x64: {
    read: 0,
    execve: 59,
    socket: 41,
    clone: 56,
    clone3: 435,
    mount: 165,
    umount2: 166,
    pivot_root: 155,
    unshare: 272,
    setns: 308,
    bpf: 321,
    perf_event_open: 298,
    keyctl: 250,
    add_key: 248,
    io_uring_setup: 425,
    userfaultfd: 323,
    kexec_load: 246,
    init_module: 175,
    finit_module: 313,
    reboot: 169,
    swapon: 167,
    quotactl: 179,
    open_by_handle_at: 304,
    fsopen: 430,
    move_mount: 429,
    ptrace: 101,
    ioctl: 16,
    io_setup: 206,
  },
  arm64: {
    read: 63,
    execve: 221,
    socket: 198,
    clone: 220,
    clone3: 435,
    mount: 40,
    umount2: 39,
    pivot_root: 41,
    unshare: 97,
    setns: 268,
    bpf: 280,
    perf_event_open: 241,
    keyctl: 219,
    add_key: 217,
    io_uring_setup: 425,
    userfaultfd: 282,
    kexec_load: 104,
    init_module: 105,
    finit_module: 273,
    reboot: 142,
    swapon: 224,
    quotactl: 60,
    open_by_handle_at: 265,
    fsopen: 430,
    move_mount: 429,
    ptrace: 117,
    ioctl: 29,
    io_setup: 0,
  },
};

const FORBIDDEN = [
  'mount',
  'umount2',
  'pivot_root',
  'unshare',
  'setns',
  'bpf',
  'perf_event_open',
  'keyctl',
  'add_key',
  'io_uring_setup',
  'userfaultfd',
  'kexec_load',
  'init_module',
  'finit_module',
  'reboot',
  'swapon',
  'quotactl',
  'open_by_handle_at',
  'fsopen',
  'move_mount',
];

const CLONE_NEWUSER = 0x1000_0000;
const CLONE_NEWNS = 0x0002_0000;
const SIGCHLD = 17;
const AF_INET = 2;
const AF_ALG = 38;
const AF_NETLINK = 16;
const AF_VSOCK = 40;
const NETLINK_AUDIT = 9;
const TCGETS = 0x5401;
const TIOCSTI = 0x5412;

/** Programs of the older kind, whose calls have other numbers. */
const AUDIT_ARCH_I386 = 0x4000_0003;
const I386 = { read: 3, mount: 21, socketcall: 102, clone: 120, socket: 359, keyctl: 288, ioctl: 54, bpf: 357 };
const X32_BIT = 0x4000_0000;

/** What is wrong with a compiled filter, by asking it; nothing when it does what the profile says. */
export function faultsOfFilter(filter: Buffer, arch: Arch): string[] {
  const verdict = (name: string, args: number[] = []) =>
    runFilter(filter, { number: NUMBERS[arch][name] ?? -1, arch: AUDIT_ARCH[arch], args });
  const late = (number: number) => runFilter(filter, { number, arch: AUDIT_ARCH[arch], args: [] });
  const highBit = 2 ** 32;
  const checks: [what: string, verdict: number, expected: number[]][] = [
    ...FORBIDDEN.map((name): [string, number, number[]] => [name, verdict(name), [EPERM]]),
    ['read', verdict('read'), [ALLOW]],
    ['execve', verdict('execve'), [ALLOW]],
    ['ptrace', verdict('ptrace'), [ALLOW]],
    ['clone of a process', verdict('clone', [SIGCHLD]), [ALLOW]],
    ['clone with a user namespace', verdict('clone', [CLONE_NEWUSER | SIGCHLD]), [EPERM]],
    ['clone with a mount namespace', verdict('clone', [CLONE_NEWNS | SIGCHLD]), [EPERM]],
    ['clone3', verdict('clone3'), [ENOSYS]],
    ['an internet socket', verdict('socket', [AF_INET, 1, 0]), [ALLOW]],
    ['a crypto socket', verdict('socket', [AF_ALG, 5, 0]), [EPERM]],
    ['a routing socket', verdict('socket', [AF_NETLINK, 3, 0]), [ALLOW]],
    ['an audit socket', verdict('socket', [AF_NETLINK, 3, NETLINK_AUDIT]), [EINVAL]],
    ['an audit socket in disguise', verdict('socket', [AF_NETLINK, 3, NETLINK_AUDIT + highBit]), [EPERM]],
    ['a socket to the machine below', verdict('socket', [AF_VSOCK, 1, 0]), [EPERM]],
    ['io_setup', verdict('io_setup'), [ENOSYS]],
    ['a question of a terminal', verdict('ioctl', [0, TCGETS]), [ALLOW]],
    ['typing into a terminal', verdict('ioctl', [0, TIOCSTI]), [EPERM]],
    ['typing in disguise', verdict('ioctl', [0, TIOCSTI + highBit]), [EPERM]],
    ['fchmodat2', late(452), [ALLOW]],
    ['mseal', late(462), [ALLOW]],
    ['listmount', late(458), [ENOSYS]],
    ['a call of the future', late(480), [ENOSYS]],
    ...(arch === 'x64' ? checksOf32Bit(filter) : []),
    ['a foreign architecture', runFilter(filter, { number: 0, arch: FOREIGN_ARCH }), [KILL_PROCESS, KILL_THREAD]],
  ];
  return checks
    .filter(([, got, expected]) => !expected.includes(got))
    .map(([what, got]) => `${what} answers 0x${got.toString(16)}`);
}

function checksOf32Bit(filter: Buffer): [what: string, verdict: number, expected: number[]][] {
  const verdict = (name: keyof typeof I386, args: number[] = []) =>
    runFilter(filter, { number: I386[name], arch: AUDIT_ARCH_I386, args });
  const x32 = (number: number) => runFilter(filter, { number: X32_BIT + number, arch: AUDIT_ARCH.x64, args: [] });
  return [
    ['read of 32 bit', verdict('read'), [ALLOW]],
    ['mount of 32 bit', verdict('mount'), [EPERM]],
    ['keyctl of 32 bit', verdict('keyctl'), [EPERM]],
    ['bpf of 32 bit', verdict('bpf'), [EPERM]],
    ['clone of 32 bit with a user namespace', verdict('clone', [CLONE_NEWUSER | SIGCHLD]), [EPERM]],
    ['socketcall', verdict('socketcall', [1]), [ENOSYS]],
    ['an internet socket of 32 bit', verdict('socket', [AF_INET, 1, 0]), [ALLOW]],
    ['a crypto socket of 32 bit', verdict('socket', [AF_ALG, 5, 0]), [EPERM]],
    ['typing into a terminal of 32 bit', verdict('ioctl', [0, TIOCSTI]), [EPERM]],
    ['x32', x32(0), [ENOSYS]],
    ['mount of x32', x32(165), [ENOSYS]],
  ];
}
