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

/** Paths in a sandbox's files of what only one machine may have. */
export interface Borrowed {
  machineIds: readonly string[];
  removable: readonly string[];
  hasHostKeys: boolean;
}

export async function findBorrowed(runtime: SandboxRuntime, id: string): Promise<Borrowed> {
  const files = runtime.files(id);
  const [machineIds, seeds, hostKeys] = await Promise.all([
    which(MACHINE_IDS, (path) => isFilledFile(files, path)),
    which(SEEDS, (path) => isThere(files, path)),
    findHostKeys(files),
  ]);
  return { machineIds, removable: [...seeds, ...hostKeys], hasHostKeys: hostKeys.length > 0 };
}

/**
 * Takes from a sandbox, whose files are another's, what only one machine may have. Called while it runs nothing yet; a second time does no harm.
 * What its files lack is not made; where it cannot make new host keys by itself, it has none afterwards.
 */
export async function giveOwnIdentity(
  runtime: SandboxRuntime,
  id: string,
  { machineIds, removable, hasHostKeys }: Borrowed,
): Promise<void> {
  const files = runtime.files(id);
  const signal = AbortSignal.timeout(KEYGEN_MS);
  const machineId = `${randomBytes(16).toString('hex')}\n`;
  for (const path of machineIds) await overwrite(files, path, machineId);
  for (const path of removable) await removeFile(files, path, signal);
  if (hasHostKeys) await makeHostKeys(runtime, id);
}

async function which(paths: readonly string[], is: (path: string) => Promise<boolean>): Promise<string[]> {
  const found = await Promise.all(paths.map(is));
  return paths.filter((_, index) => found[index]);
}

const isThere = async (files: ContainerFiles, path: string) =>
  (await missingIs(undefined, files.lstat(path))) !== undefined;

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

async function findHostKeys(files: ContainerFiles): Promise<string[]> {
  const paths: string[] = [];
  try {
    for await (const { name } of files.list(SSH_DIRECTORY)) {
      if (SSH_KEY.test(name)) paths.push(`${SSH_DIRECTORY}/${name}`);
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return paths;
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
