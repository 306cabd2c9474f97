import { parseImage } from './image.ts';
import type { SandboxRow } from './types.ts';

/** Without a terminal and arguments these read an empty input and end at once: they are there for `docker run -it`. */
const INTERACTIVE = new Set(
  'sh bash zsh ash dash fish ksh python python2 python3 pypy pypy3 ipython node nodejs bun deno irb ruby php psql julia R jshell ghci erl iex lua scala swift'.split(
    ' ',
  ),
);

/** What is started in the background beside the sandbox's own pid 1; empty when there is nothing worth starting. */
export function entrypointCommand(row: Pick<SandboxRow, 'entrypoint' | 'image'>): string[] {
  const image = parseImage(row.image);
  const explicit = row.entrypoint ?? [];
  const isOwn = explicit.length > 0 && !sameArray(explicit, image.entrypoint);
  const command = isOwn ? explicit : [...image.entrypoint, ...image.cmd];
  return isIdle(command) ? [] : command;
}

function isIdle(command: readonly string[]): boolean {
  const [program, ...args] = command;
  if (program === undefined || program === '') return true;
  const name = program.slice(program.lastIndexOf('/') + 1);
  // Written to keep a container alive, which its pid 1 does already.
  if (name === 'sleep' && args.length === 1 && args[0] === 'infinity') return true;
  return INTERACTIVE.has(name) && args.every((arg) => arg === '-i' || arg === '-l' || arg === '--login');
}

function sameArray(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
