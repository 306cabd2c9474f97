import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { conflict, invalidRequest, messageOf } from './errors.ts';
import { type FileLock, lockHolder, tryFileLock } from './file-lock.ts';

const LOCK_FILE = 'server.lock';

/**
 * Makes this process the only server of a state directory for its life. Raises `conflict` with the pid of the one that runs.
 * Held until `release` or the end of the process; kill -9 leaves nothing to clean.
 */
export function lockStateDir(stateDir: string): FileLock {
  const path = join(stateDir, LOCK_FILE);
  const lock = tryStateLock(stateDir, path);
  if (lock !== undefined) return lock;
  const pid = lockHolder(path);
  throw conflict(`Darkroom already runs in ${stateDir}${pid === undefined ? '' : ` (pid ${pid})`}`, {
    hint: 'Stop it, or give this one another directory with --state-dir.',
    details: { pid },
  });
}

function tryStateLock(stateDir: string, path: string): FileLock | undefined {
  try {
    // The embedded database runs under its own user and has to get through.
    mkdirSync(stateDir, { recursive: true, mode: 0o711 });
    return tryFileLock(path);
  } catch (cause) {
    throw invalidRequest(`stateDir: ${stateDir} cannot be used: ${messageOf(cause)}`, {
      hint: 'Choose another directory with --state-dir.',
      cause,
    });
  }
}
