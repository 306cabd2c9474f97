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
  const unshare = findInPath('unshare');
  if (process.execve === undefined || unshare === undefined) {
    throw new DarkroomError(
      'unavailable',
      unshare === undefined ? 'unshare is not installed' : `Node ${process.versions.node} cannot replace its process`,
      { hint: unshare === undefined ? 'Install util-linux.' : 'Use Node 22.18 or newer.' },
    );
  }
  const env = { ...LEAN_ENVIRONMENT, ...process.env, [HOST_NAMESPACE_VARIABLE]: await mountNamespace() };
  const again = [process.execPath, ...LEAN_OPTIONS, ...process.execArgv, ...process.argv.slice(1)];
  process.execve(unshare, ['unshare', '--mount', '--propagation', 'slave', '--', ...again], env);
  throw new DarkroomError('unavailable', `${unshare} could not be run`);
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
