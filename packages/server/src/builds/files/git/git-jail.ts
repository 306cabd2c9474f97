import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { DarkroomError, errnoOf } from '../../../platform/errors.ts';
import { SEARCH_PATH } from '../../../platform/find-program.ts';

/** Nobody on this machine: git reads what a stranger wrote. */
export const JAIL_ID = 65534;
const MEMORY_BYTES = 3 * 1024 ** 3;
const CPU_SECONDS = 30 * 60;
const MAX_WORDS = 4000;

/**
 * Of the host there is /usr alone, and nobody may write there; the one writable place is the work directory. No network, no other
 * processes, no capabilities, no way to more rights.
 */
const ENTER = `set -eu
jail=$1 work=$2 memory=$3 cpu=$4 file=$5
shift 5
mount -t tmpfs -o mode=755,size=64k,nosuid,nodev jail "$jail"
cd "$jail"
mkdir usr dev etc work
mount --bind /usr usr
mount -o remount,bind,ro,nosuid,nodev usr
for name in bin lib lib32 lib64 sbin; do
  if [ -L "/$name" ]; then ln -s "usr/$name" "$name"
  elif [ -d "/$name" ]; then mkdir "$name"; mount --bind "/$name" "$name"; mount -o remount,bind,ro,nosuid,nodev "$name"
  fi
done
for name in null urandom; do touch "dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
mount --bind "$work" work
mount -o remount,bind,nosuid,nodev,noexec work
mount -o remount,ro,nosuid,nodev jail "$jail"
exec prlimit --as="$memory" --cpu="$cpu" --fsize="$file" --core=0 --nofile=1024 -- \\
  chroot . /usr/bin/setpriv --reuid ${JAIL_ID} --regid ${JAIL_ID} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \\
  /bin/sh -c 'umask 022; cd /work; '"$@"`;

const CONFIG: Readonly<Record<string, string>> = {
  'core.hooksPath': '/dev/null',
  'core.logAllRefUpdates': 'false',
  'core.fsmonitor': 'false',
  // What is larger goes through in pieces, and is not kept in memory.
  'core.bigFileThreshold': '32m',
  'core.packedGitWindowSize': '32m',
  'core.packedGitLimit': '256m',
  'core.deltaBaseCacheLimit': '64m',
  'pack.threads': '1',
  'checkout.workers': '1',
  'advice.detachedHead': 'false',
  'protocol.allow': 'never',
  'gc.auto': '0',
};

const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: '/usr/bin:/bin',
  HOME: '/work',
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
  GIT_CONFIG_COUNT: String(Object.keys(CONFIG).length),
  ...Object.fromEntries(
    Object.entries(CONFIG).flatMap(([key, value], index) => [
      [`GIT_CONFIG_KEY_${index}`, key],
      [`GIT_CONFIG_VALUE_${index}`, value],
    ]),
  ),
};

export interface GitJail {
  /** An empty directory of the server's, where the jail's root is mounted. */
  root: string;
  /** A directory of `JAIL_ID`; `/work` inside. */
  work: string;
  /** No file gets larger. */
  maxBytes: number;
  signal: AbortSignal;
}

export interface JailRun {
  /** Of sh, run in `/work`. */
  script: string;
  args: readonly string[];
  input?: AsyncIterable<Buffer>;
  onOutput?: (chunk: Buffer) => void;
}

/** A script that failed inside. What it said comes from what a stranger wrote. */
export class JailFailure extends Error {
  override readonly name = 'JailFailure';
}

/** Runs a script of git commands in its jail to its end. Nothing of it is left when this settles. */
export async function runJailed(jail: GitJail, { script, args, input, onOutput }: JailRun): Promise<void> {
  jail.signal.throwIfAborted();
  if (!existsSync('/usr/bin/git')) throw new DarkroomError('internal', 'git is not installed (run `scripts/setup.sh`)');
  const limits = [String(MEMORY_BYTES), String(CPU_SECONDS), String(jail.maxBytes)];
  const own = ['--mount', '--pid', '--net', '--ipc', '--uts', '--fork', '--kill-child=KILL'];
  const enter = ['/bin/sh', '-c', ENTER, 'sh', jail.root, jail.work, ...limits, script, 'sh', ...args];
  const child = spawn('unshare', [...own, ...enter], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...ENVIRONMENT, PATH: SEARCH_PATH },
    cwd: '/',
  });
  const kill = () => void child.kill('SIGKILL');
  jail.signal.addEventListener('abort', kill, { once: true });
  let failure: { reason: unknown } | undefined;
  const fail = (reason: unknown) => {
    failure ??= { reason };
    kill();
  };
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (words.length < MAX_WORDS) words += text;
  });
  child.stdout.on('data', (chunk: Buffer) => {
    if (failure !== undefined) return;
    try {
      onOutput?.(chunk);
    } catch (error) {
      fail(error);
    }
  });
  // It may end without reading its input; its exit code says what that meant.
  child.stdin.on('error', () => {});
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? -1));
  });
  try {
    const fed = feed(child.stdin, input).catch(fail);
    const code = await ended;
    child.stdin.destroy();
    await fed;
    jail.signal.throwIfAborted();
    if (failure !== undefined) throw failure.reason;
    if (code !== 0) throw new JailFailure(words.trim().slice(-1000) || `exit code ${code}`);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT')
      throw new DarkroomError('internal', 'unshare is not installed (run `darkroom doctor`)', { cause: error });
    throw error;
  } finally {
    jail.signal.removeEventListener('abort', kill);
    kill();
    ended.catch(() => {});
  }
}

async function feed(stdin: NodeJS.WritableStream, input: AsyncIterable<Buffer> | undefined): Promise<void> {
  const closed = finished(stdin).then(
    () => 'closed' as const,
    () => 'closed' as const,
  );
  for await (const chunk of input ?? []) {
    if (!stdin.writable) return;
    if (stdin.write(chunk)) continue;
    const drained = new Promise<'drained'>((resolve) => stdin.once('drain', () => resolve('drained')));
    if ((await Promise.race([drained, closed])) === 'closed') return;
  }
  stdin.end();
}
