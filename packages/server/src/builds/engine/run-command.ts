import { heredocMark } from '../dockerfile/heredoc.ts';
import type { Run } from '../dockerfile/instructions.ts';
import { argvOf, type StageState } from '../dockerfile/stage-state.ts';

/** Where BuildKit, too, puts the file of a heredoc that is a program of its own. */
const SCRIPT_DIRECTORY = '/dev/pipes';

/** What a RUN starts. */
export interface RunCommand {
  argv: string[];
  /** A program that the instruction brings along. */
  script: { target: string; content: string } | undefined;
}

/**
 * A heredoc alone is what the shell runs, or with `#!` a program of its own; behind a command it is the shell's, as it is written. Whether its
 * name is quoted makes no difference to the first two, as in BuildKit.
 */
export function runCommand(instruction: Pick<Run, 'command' | 'heredocs'>, state: RunState): RunCommand {
  const { command, heredocs } = instruction;
  const [first] = heredocs;
  if (command.form === 'exec' || first === undefined) return { argv: argvOf(state, command), script: undefined };
  const inShell = (script: string) => argvOf(state, { form: 'shell', script });
  if (heredocMark(command.script, state.scope.escapeChar) !== undefined) {
    if (!first.content.startsWith('#!')) return { argv: inShell(first.content), script: undefined };
    const target = `${SCRIPT_DIRECTORY}/${first.name.replaceAll('/', '_')}`;
    return { argv: inShell(target), script: { target, content: first.content } };
  }
  const contents = heredocs.map(({ content, name }) => `\n${content}${name}`).join('');
  return { argv: inShell(command.script + contents), script: undefined };
}

type RunState = Pick<StageState, 'shell' | 'scope'>;
