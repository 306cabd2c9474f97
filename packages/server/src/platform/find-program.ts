import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { DarkroomError } from './errors.ts';

/** Where tools of the host are looked for, whatever PATH the server was started with. */
export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The absolute path of a tool. Raises `unavailable` when it is not installed. */
export function findProgram(command: string): string {
  const candidates = command.includes('/') ? [command] : SEARCH_PATH.split(delimiter).map((dir) => join(dir, command));
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // The next one may be there.
    }
  }
  throw new DarkroomError('unavailable', `${command} is not installed`, {
    hint: 'Run `darkroom doctor`: it says which package brings it.',
  });
}
