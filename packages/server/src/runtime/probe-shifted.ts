import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmdir, writeFile } from 'node:fs/promises';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import { run } from '../platform/process.ts';
import { CHECK_TIMEOUT_MS, fail, ok, type ProbeResult } from './probe-check.ts';
import { probeDirectory } from './probe-directory.ts';

export interface IdRange {
  idBase: number;
  idCount: number;
}

/**
 * Makes a user namespace with the sandboxes' id range and an overlay mount over files of that range, and writes through both. All of
 * it lies in a tmpfs of a mount namespace that ends with the last process in it; the host only sees an empty directory for a moment.
 */
export async function probeShiftedOverlay(range: IdRange): Promise<{ namespace: ProbeResult; overlay: ProbeResult }> {
  const directory = await probeDirectory();
  const holder = spawn(
    'unshare',
    ['--mount', '--propagation', 'slave', 'sh', '-euc', HOLDER, 'sh', directory, String(range.idBase)],
    { stdio: ['pipe', 'pipe', 'pipe'], signal: AbortSignal.timeout(CHECK_TIMEOUT_MS), killSignal: 'SIGKILL' },
  );
  const closed = once(holder, 'close');
  closed.catch(() => {});
  try {
    const overlayMounted = await firstLine(holder.stdout, holder.stderr);
    const namespace = await mapIds(holder.pid, range);
    const overlay = await tryOverlay(overlayMounted, namespace, () => writeThrough(holder.pid, directory));
    return { namespace, overlay };
  } finally {
    holder.stdin.on('error', () => {});
    holder.stdin.end();
    await closed.catch(() => {});
    await rmdir(directory);
  }
}

/** The shell keeps its pid through both `exec`s, so that its id maps can be written from outside. */
const HOLDER = `
  mount -t tmpfs -o size=1m,mode=0755 darkroom-probe "$1"
  cd "$1"
  mkdir lower upper work merged
  echo below > lower/file
  chown -R "$2:$2" lower upper work
  word=mounted
  mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work darkroom-probe merged 2> error || word=$(cat error)
  exec unshare --user sh -c 'echo "$1"; read -r _ || :' sh "$word"`;

async function tryOverlay(mounted: string, namespace: ProbeResult, write: () => Promise<ProbeResult>) {
  if (mounted !== 'mounted') return noOverlay(mounted);
  if (namespace.status !== 'ok') return fail('not tried without a user namespace', namespace.advice ?? '');
  return write().catch((error: unknown) => noOverlay(messageOf(error)));
}

async function mapIds(pid: number | undefined, { idBase, idCount }: IdRange): Promise<ProbeResult> {
  const map = `0 ${idBase} ${idCount}\n`;
  try {
    await writeFile(`/proc/${pid}/uid_map`, map);
    await writeFile(`/proc/${pid}/gid_map`, map);
    return ok(`work; root of a sandbox is ${idBase} here`);
  } catch (error) {
    return fail(
      `the ids ${idBase}-${idBase + idCount - 1} cannot be mapped: ${messageOf(error)}`,
      'Set runtime.idBase and runtime.idCount to a range that this machine (or container) has.',
    );
  }
}

async function writeThrough(pid: number | undefined, directory: string): Promise<ProbeResult> {
  const inside = ['--target', String(pid), '--mount', '--user', '--setuid', '0', '--setgid', '0'];
  const script = 'cd "$1/merged" && cat file && echo above > file && stat -c %u file';
  const { stdout } = await run('nsenter', [...inside, 'sh', '-euc', script, 'sh', directory], {
    timeoutMs: CHECK_TIMEOUT_MS,
  });
  if (stdout !== 'below\n0\n') return noOverlay(`files come out wrong: ${stdout.trim()}`);
  return ok('works under shifted ids');
}

function noOverlay(found: string): ProbeResult {
  return fail(found, 'Load the module (`modprobe overlay`); in a container, give it CAP_SYS_ADMIN.');
}

async function firstLine(stdout: NodeJS.ReadableStream, stderr: NodeJS.ReadableStream): Promise<string> {
  let errors = '';
  stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  let text = '';
  for await (const chunk of stdout) {
    text += chunk.toString();
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
  }
  throw new DarkroomError('unavailable', errors.trim() || 'the try ended without a word');
}
