import { closeSync, constants, fstatSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import type { ExecSpec } from '../types.ts';
import { locate } from './container-root.ts';

/** As a shell ends when there is no such command, and when it is none. */
export const NOT_FOUND = 127;
export const NOT_EXECUTABLE = 126;

/** What no process could be started with: C ends a string at a zero byte, and an environment name at `=`. */
export function checkExec(spec: Pick<ExecSpec, 'argv' | 'cwd' | 'env'>): void {
  if ((spec.argv[0] ?? '') === '') throw invalidRequest('the command is empty');
  if (!spec.cwd.startsWith('/')) throw invalidRequest(`the working directory ${spec.cwd} is not absolute`);
  const strings = [...spec.argv, spec.cwd, ...Object.entries(spec.env).flat()];
  if (strings.some((text) => text.includes('\0'))) {
    throw invalidRequest('the command, its working directory or its environment has a zero byte');
  }
  for (const name of Object.keys(spec.env)) {
    if (name === '' || name.includes('=')) throw invalidRequest(`${name} is not a name of an environment variable`);
  }
}

/** Raises when the working directory is none; what the user may do with it, the kernel decides when the command starts. */
export function checkWorkingDirectory(root: number, cwd: string): void {
  try {
    closeSync(locate(root, cwd, constants.O_DIRECTORY));
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT') throw invalidRequest(`the working directory ${cwd} does not exist`, { cause: error });
    if (code === 'ENOTDIR') throw invalidRequest(`the working directory ${cwd} is not a directory`, { cause: error });
    if (code === 'ENAMETOOLONG') throw invalidRequest('the working directory is too long', { cause: error });
  }
}

/** Looks for the command as execvp(3) will; undefined when there is something to execute. */
export function commandFault(
  root: number,
  command: string,
  cwd: string,
  path: string,
): { exitCode: number; words: string } | undefined {
  const candidates = command.includes('/')
    ? [command.startsWith('/') ? command : join(cwd, command)]
    : path.split(':').map((dir) => join(dir.startsWith('/') ? dir : join(cwd, dir), command));
  const kinds = candidates.map((candidate) => kindOf(root, candidate));
  if (kinds.includes('executable') || kinds.includes('unknown')) return undefined;
  if (kinds.includes('directory')) return { exitCode: NOT_EXECUTABLE, words: `${command}: is a directory` };
  if (kinds.includes('other')) return { exitCode: NOT_EXECUTABLE, words: `${command}: permission denied` };
  return { exitCode: NOT_FOUND, words: `${command}: ${command.includes('/') ? 'no such file' : 'command not found'}` };
}

type Kind = 'executable' | 'directory' | 'other' | 'missing' | 'unknown';

function kindOf(root: number, path: string): Kind {
  let place: number;
  try {
    place = locate(root, path);
  } catch (error) {
    const code = errnoOf(error) ?? '';
    return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(code) ? 'missing' : 'unknown';
  }
  try {
    const stats = fstatSync(place);
    if (stats.isDirectory()) return 'directory';
    return stats.isFile() && (stats.mode & 0o111) !== 0 ? 'executable' : 'other';
  } finally {
    closeSync(place);
  }
}
