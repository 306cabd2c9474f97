import { invalidRequest } from '../../platform/errors.ts';

/** execve takes no argument of 128 KiB or more; longer ones go in by the standard input. */
const MAX_ARGUMENT_BYTES = 100 * 1024;

export interface ShellCommand {
  argv: string[];
  input?: string;
}

/**
 * One pipe takes both streams, so that they keep the order in which they were written. The redirection stands on a line of its
 * own: a shell then runs it before it reads what may be a syntax error.
 */
export function shellCommand(shell: string, command: string): ShellCommand {
  if (command.includes('\0')) throw invalidRequest('The command must not contain NUL');
  const script = `exec 2>&1\n${command}`;
  if (Buffer.byteLength(script) < MAX_ARGUMENT_BYTES) return { argv: [shell, '-c', script] };
  return { argv: [shell, '-c', 'eval "$(cat)"'], input: script };
}
