import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { DarkroomError, mountNamespace } from '@darkroom/server/machine';

/** Marks the second life of `darkroom up`: the mount namespace of the first. */
export const HOST_NAMESPACE_VARIABLE = 'DARKROOM_HOST_MOUNT_NAMESPACE';

/**
 * Measured on an idle server: 208 MB resident as Node comes, 146 MB with these. Small young generations are what matters most;
 * the cache of compiled code also keeps the stripper of types from being loaded, and makes the start quicker.
 */
const LEAN_OPTIONS = ['--max-semi-space-size=2'];
const LEAN_ENVIRONMENT = {
  MALLOC_ARENA_MAX: '2',
  // Beside the code, where nobody but its owner can put something: this is code that root runs.
  NODE_COMPILE_CACHE: join(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache', 'darkroom'),
};

/**
 * Runs this same command again, as the same process, in a mount namespace of its own: mounts of the host are seen there, and
 * those made there nowhere else. They go with the process, however it ends. Does not return when it succeeds.
 */
export async function reexecInOwnMountNamespace(): Promise<never> {
  const unshare = findUnshare();
  if (process.execve === undefined) {
    throw new DarkroomError('unavailable', `Node ${process.versions.node} cannot replace its process`, {
      hint: 'Use Node 22.18 or newer.',
    });
  }
  process.execve(unshare, ['unshare', ...againArguments()], await againEnvironment());
  throw new DarkroomError('unavailable', `${unshare} could not be run`);
}

/** The same as a child, for who has something to do in the host's namespace afterwards. Answers its exit code; signals are passed on. */
export async function runInOwnMountNamespace(): Promise<number> {
  const child = spawn(findUnshare(), againArguments(), { stdio: 'inherit', env: await againEnvironment() });
  const passOn = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of PASSED_ON) process.on(signal, passOn);
  try {
    const [code, signal] = await once(child, 'close');
    if (typeof code === 'number') return code;
    throw new DarkroomError('unavailable', `it was ended by ${signal}`);
  } finally {
    for (const signal of PASSED_ON) process.off(signal, passOn);
  }
}

/** What a terminal sends to its whole group comes twice, which does no harm. */
const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

function againArguments(): string[] {
  const again = [process.execPath, ...LEAN_OPTIONS, ...process.execArgv, ...process.argv.slice(1)];
  return ['--mount', '--propagation', 'slave', '--', ...again];
}

async function againEnvironment(): Promise<Record<string, string | undefined>> {
  return { ...LEAN_ENVIRONMENT, ...process.env, [HOST_NAMESPACE_VARIABLE]: await mountNamespace() };
}

function findUnshare(): string {
  const unshare = findInPath('unshare');
  if (unshare !== undefined) return unshare;
  throw new DarkroomError('unavailable', 'unshare is not installed', { hint: 'Install util-linux.' });
}

function findInPath(name: string): string | undefined {
  const directories = (process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin').split(delimiter).filter(Boolean);
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
