import type { ErrorCode } from '@darkroom/contract';
import { DarkroomError, type DarkroomErrorOptions } from '../../platform/errors.ts';

interface Pattern {
  words: RegExp;
  code: ErrorCode;
  message: string;
  options?: DarkroomErrorOptions;
}

/** What crun says, and what that means for the one who asked. It has no codes, only words. */
const PATTERNS: readonly Pattern[] = [
  {
    words: /is not running|does not exist|container .* not found|error opening file .*status/i,
    code: 'conflict',
    message: 'the sandbox is not running',
  },
  { words: /already exists/i, code: 'conflict', message: 'the sandbox is running already' },
  {
    words: /No space left on device|Disk quota exceeded/i,
    code: 'insufficient_storage',
    message: 'no space is left for the sandbox',
  },
  {
    words: /cgroup.*(Device or resource busy|Invalid argument)|memory\.max|limit_in_bytes/i,
    code: 'unavailable',
    message: 'the sandbox’s limits could not be set',
    options: { hint: 'Run `darkroom doctor`; it looks at the cgroups of this machine.' },
  },
  {
    words: /Resource temporarily unavailable|Cannot allocate memory|Too many open files/i,
    code: 'unavailable',
    message: 'there is no room for another process',
    options: {
      retryable: true,
      hint: 'End processes in the sandbox, whose number is limited; or the machine itself has too many processes or open files.',
    },
  },
  {
    words: /chdir|current working directory/i,
    code: 'invalid_request',
    message: 'the working directory cannot be entered by this user',
  },
  {
    words: /rootfs|mount `|open `.*`: (Not a directory|Too many levels)/i,
    code: 'image_invalid',
    message: 'the root file system of the snapshot cannot be set up',
    options: { hint: 'Its /proc, /dev, /sys and /etc must be directories, and its layers complete.' },
  },
];

export function crunFailure(command: string, words: string): DarkroomError {
  const said = words.trim().slice(-2000);
  const cause = new Error(`crun ${command}: ${said || 'failed without a word'}`);
  const pattern = PATTERNS.find((candidate) => candidate.words.test(said));
  if (pattern) return new DarkroomError(pattern.code, `${pattern.message} (${said})`, { ...pattern.options, cause });
  return new DarkroomError('internal', cause.message, { cause, hint: 'Run `darkroom doctor`.' });
}
