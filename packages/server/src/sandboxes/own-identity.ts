import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DarkroomError } from '../platform/errors.ts';
import type { ContainerFiles, SandboxRuntime } from '../runtime/types.ts';

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const MACHINE_IDS = ['/etc/machine-id', '/var/lib/dbus/machine-id'];
/** What a system keeps over a restart to begin its randomness with. */
const SEEDS = ['/var/lib/systemd/random-seed', '/var/lib/urandom/random-seed'];
const SSH_DIRECTORY = '/etc/ssh';
const SSH_KEY = /^ssh_host_[a-z0-9_]+_key(\.pub)?$/;
const KEYGEN_MS = 20_000;
const ROOT = { uid: 0, gid: 0 };

/**
 * Takes from a sandbox, whose files are another's, what only one machine may have. Called while it runs nothing yet. What its files lack is not
 * made; where it cannot make new host keys by itself, it has none afterwards.
 */
export async function giveOwnIdentity(runtime: SandboxRuntime, id: string): Promise<void> {
  const files = runtime.files(id);
  const signal = AbortSignal.timeout(KEYGEN_MS);
  const machineId = `${randomBytes(16).toString('hex')}\n`;
  for (const path of MACHINE_IDS) if (await isFilledFile(files, path)) await overwrite(files, path, machineId);
  for (const path of SEEDS) await removeFile(files, path, signal);
  if (await removeHostKeys(files, signal)) await makeHostKeys(runtime, id);
}

async function isFilledFile(files: ContainerFiles, path: string): Promise<boolean> {
  const found = await missingIs(undefined, files.lstat(path));
  // A link leads to another of them.
  return found !== undefined && (found.mode & S_IFMT) === S_IFREG && found.size > 0;
}

/** In its place, so that owner and mode stay. */
async function overwrite(files: ContainerFiles, path: string, content: string): Promise<void> {
  const file = await files.open(path, { write: true, truncate: true });
  try {
    await file.write(0, Buffer.from(content));
  } finally {
    await file.close();
  }
}

async function removeHostKeys(files: ContainerFiles, signal: AbortSignal): Promise<boolean> {
  const names: string[] = [];
  try {
    for await (const { name } of files.list(SSH_DIRECTORY)) if (SSH_KEY.test(name)) names.push(name);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  for (const name of names) await removeFile(files, `${SSH_DIRECTORY}/${name}`, signal);
  return names.length > 0;
}

const removeFile = (files: ContainerFiles, path: string, signal: AbortSignal) =>
  missingIs(undefined, files.remove(path, { recursive: false, signal }));

/** By the sandbox's own program, which makes those that are missing. */
async function makeHostKeys(runtime: SandboxRuntime, id: string): Promise<void> {
  const user = { ...ROOT, additionalGids: [], home: '/root', name: 'root' };
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
  let keygen: Awaited<ReturnType<SandboxRuntime['exec']>>;
  try {
    keygen = await runtime.exec(id, { argv: ['ssh-keygen', '-A'], env, cwd: '/', user });
  } catch (error) {
    // It has no such program.
    if (error instanceof DarkroomError && error.isUserError) return;
    throw error;
  }
  keygen.stdin.end();
  keygen.stdout.resume();
  keygen.stderr.resume();
  const timer = new AbortController();
  const late = sleep(KEYGEN_MS, 'late', { signal: timer.signal }).catch(() => 'ended');
  const first = await Promise.race([keygen.exited, late]);
  timer.abort();
  if (first === 'late') await keygen.killTree();
}

async function missingIs<T>(value: undefined, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isMissing(error)) return value;
    throw error;
  }
}

/** Also where it is no file, or no directory. */
const isMissing = (error: unknown) =>
  error instanceof DarkroomError && (error.code === 'not_found' || error.code === 'invalid_request');
