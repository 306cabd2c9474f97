import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../process.ts';
import type { DatabaseUser } from './postgres-files.ts';

/**
 * How a program of PostgreSQL is started as the database's user. Where that user cannot reach the program or the data (a
 * checkout or a state directory below /root, which is closed to others), both are shown to it under `/run/darkroom` by bind
 * mounts in a mount namespace of its own.
 */
export interface Launcher {
  /** Whether the user reaches paths of the state directory as they are. */
  direct: boolean;
  spawn(program: string, dataDir: string, options: LaunchOptions): ChildProcess;
  /** The data directory as the program sees it. */
  seen(dataDir: string): string;
  /** Removes the empty directories that the mounts were made on. */
  close(): Promise<void>;
}

export interface LaunchOptions {
  args: readonly string[];
  logFd: number;
}

const PROBE_TIMEOUT_MS = 10_000;

/**
 * The parent may have died before the child asked to be told of it; then nobody would ever end the child. The arguments
 * are the parent's pid and the command.
 */
const IF_PARENT_LIVES = '[ "$PPID" = "$0" ] || exit 1; exec "$@"';

/** Arguments: the installed programs, where they are shown, the data, where it is shown, and the command. */
const WITH_BINDS = 'mount --bind "$1" "$2" && mount --bind "$3" "$4" && shift 4 && exec "$@"';

/** setpriv asks for the signal after it changed the user, which would have cleared it; exec of an ordinary program keeps it. */
function asUser(user: DatabaseUser): string[] {
  const change = user.change ? ['--reuid', `${user.uid}`, '--regid', `${user.gid}`, '--clear-groups'] : [];
  return ['setpriv', ...change, '--pdeathsig', 'INT', 'sh', '-c', IF_PARENT_LIVES, `${process.pid}`];
}

export async function makeLauncher(native: string, stateDir: string, user: DatabaseUser): Promise<Launcher> {
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };
  const start = (command: readonly string[], cwd: string, logFd: number) => {
    const [program = '', ...args] = command;
    // A session of its own: Ctrl-C in a terminal reaches the whole group, and would end the database before the server.
    return spawn(program, args, { cwd, env, stdio: ['ignore', logFd, logFd], detached: true });
  };
  if (await canReach(native, stateDir, user)) {
    return {
      direct: true,
      seen: (dataDir) => dataDir,
      close: async () => {},
      spawn: (program, dataDir, { args, logFd }) =>
        start([...asUser(user), join(native, 'bin', program), ...args], dataDir, logFd),
    };
  }
  const view = join('/run/darkroom', `view-${createHash('sha256').update(stateDir).digest('hex').slice(0, 12)}`);
  const shown = { native: join(view, 'native'), data: join(view, 'data') };
  for (const directory of [shown.native, shown.data]) await mkdir(directory, { recursive: true, mode: 0o711 });
  return {
    direct: false,
    seen: () => shown.data,
    close: async () => {
      // One by one and only when empty: should a mount ever be visible here, nothing below it may be taken for litter.
      for (const directory of [shown.native, shown.data, view]) await rmdir(directory).catch(() => {});
    },
    spawn: (program, dataDir, { args, logFd }) => {
      const unshare = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', WITH_BINDS, 'sh'];
      const binds = [native, shown.native, dataDir, shown.data];
      const command = [...asUser(user), join(shown.native, 'bin', program), ...args];
      return start([...unshare, ...binds, ...command], '/', logFd);
    },
  };
}

/** Asks the kernel as that user, since permissions may come from modes, groups or access lists. */
async function canReach(native: string, stateDir: string, user: DatabaseUser): Promise<boolean> {
  if (!user.change) return true;
  const change = ['--reuid', `${user.uid}`, '--regid', `${user.gid}`, '--clear-groups'];
  const probe = ['test', '-x', join(native, 'bin', 'postgres'), '-a', '-x', stateDir];
  const answer = await run('setpriv', [...change, ...probe], {
    timeoutMs: PROBE_TIMEOUT_MS,
    cwd: '/',
    okCodes: [0, 1],
  });
  return answer.exitCode === 0;
}
