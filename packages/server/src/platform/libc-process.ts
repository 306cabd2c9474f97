import koffi from 'koffi';
import { checked, libc, SystemCallError } from './libc.ts';

/**
 * Processes without Node's own spawn, which forks: with the server's memory mapped that stops the event loop for
 * milliseconds, where glibc's posix_spawn (vfork) takes a tenth of one. It also gives the child real pipes; Node's are sockets,
 * and a shell's `> /dev/stdout` cannot open a socket.
 */
const c = {
  spawn: libc.func(
    'int posix_spawn(_Out_ int *pid, const char *path, const void *actions, const void *attributes, const char **argv, const char **env)',
  ),
  actionsInit: libc.func('int posix_spawn_file_actions_init(void *actions)'),
  actionsDup2: libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int target)'),
  actionsDestroy: libc.func('int posix_spawn_file_actions_destroy(void *actions)'),
  attrInit: libc.func('int posix_spawnattr_init(void *attributes)'),
  attrFlags: libc.func('int posix_spawnattr_setflags(void *attributes, short flags)'),
  attrDefaults: libc.func('int posix_spawnattr_setsigdefault(void *attributes, const void *set)'),
  attrMask: libc.func('int posix_spawnattr_setsigmask(void *attributes, const void *set)'),
  attrDestroy: libc.func('int posix_spawnattr_destroy(void *attributes)'),
  waitpid: libc.func('int waitpid(int pid, _Out_ int *status, int options)'),
  pidfdOpen: libc.func('long syscall(long number, int pid, uint32_t flags)'),
  pidfdSendSignal: libc.func('long syscall(long number, int pidfd, int signal, void *info, uint32_t flags)'),
};

const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;

const SETSIGDEF = 0x04;
const SETSIGMASK = 0x08;
const SETSID = 0x80;
const WNOHANG = 1;
/** glibc's `sigset_t`, `posix_spawn_file_actions_t` and `posix_spawnattr_t` are 128, 80 and 336 bytes; room to spare. */
const OPAQUE_SIZE = 1024;
const SIGSET_SIZE = 128;

export interface SpawnSpec {
  /** Absolute: there is no search in PATH. */
  path: string;
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  /** The child's descriptors 0, 1, 2 and so on. Everything else of the server is close-on-exec. */
  stdio: readonly [number, number, number, ...number[]];
}

/** Starts a process in a session of its own with default signal dispositions. The caller must reap it (`reap`). */
export function posixSpawn(spec: SpawnSpec): number {
  const actions = Buffer.alloc(OPAQUE_SIZE);
  const attributes = Buffer.alloc(OPAQUE_SIZE);
  ok('posix_spawn_file_actions_init', c.actionsInit(actions));
  ok('posix_spawnattr_init', c.attrInit(attributes));
  try {
    // The first pass lifts the ends out of the way of 0 to 2 only where needed; the server's own are never below 3.
    spec.stdio.forEach((fd, target) => {
      ok('posix_spawn_file_actions_adddup2', c.actionsDup2(actions, fd, target));
    });
    // Node ignores SIGPIPE; a child that inherited that would write to a closed pipe for ever.
    ok('posix_spawnattr_setsigdefault', c.attrDefaults(attributes, Buffer.alloc(SIGSET_SIZE, 0xff)));
    ok('posix_spawnattr_setsigmask', c.attrMask(attributes, Buffer.alloc(SIGSET_SIZE)));
    ok('posix_spawnattr_setflags', c.attrFlags(attributes, SETSIGDEF | SETSIGMASK | SETSID));
    const pid = [0];
    const env = Object.entries(spec.env).map(([name, value]) => `${name}=${value}`);
    ok('posix_spawn', c.spawn(pid, spec.path, actions, attributes, [...spec.argv, null], [...env, null]), spec.path);
    const [child] = pid;
    if (child === undefined || child <= 0) throw new Error(`posix_spawn ${spec.path} gave no pid`);
    return child;
  } finally {
    c.attrDestroy(attributes);
    c.actionsDestroy(actions);
  }
}

/** posix_spawn's functions answer with the errno itself. */
function ok(syscall: string, errno: number, subject = ''): void {
  if (errno !== 0) throw new SystemCallError(syscall, errno, subject);
}

export interface ExitStatus {
  /** As a shell says it: 128 + n for signal n. */
  exitCode: number;
  signal: number | undefined;
}

/** Takes the exit status of a child that ended; undefined while it runs. */
export function reap(pid: number): ExitStatus | undefined {
  const status = [0];
  if (checked('waitpid', c.waitpid(pid, status, WNOHANG), String(pid)) === 0) return undefined;
  const word = status[0] ?? 0;
  const signal = word & 0x7f;
  if (signal !== 0) return { exitCode: 128 + signal, signal };
  return { exitCode: (word >> 8) & 0xff, signal: undefined };
}

/** A descriptor that means this process for ever, also when its number is given to another. Readable when it ends. */
export function pidfdOpen(pid: number): number {
  return checked('pidfd_open', Number(c.pidfdOpen(SYS_PIDFD_OPEN, pid, 0)), String(pid));
}

/** False when the process has ended. Signal 0 only asks. */
export function pidfdSignal(pidfd: number, signal: number): boolean {
  const result = Number(c.pidfdSendSignal(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, null, 0));
  if (result < 0 && koffi.errno() === koffi.os.errno.ESRCH) return false;
  checked('pidfd_send_signal', result, String(signal));
  return true;
}
