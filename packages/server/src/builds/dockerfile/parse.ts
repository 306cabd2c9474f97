import type { Directives } from './directives.ts';
import type { Arg, From, Instruction } from './instructions.ts';
import { readInstruction } from './read-instruction.ts';
import { readStatements } from './statements.ts';
import { syntaxError } from './syntax-error.ts';

export interface Stage {
  /** Its place among the stages, from 0. */
  index: number;
  from: From;
  instructions: StageInstruction[];
}

export type StageInstruction = Exclude<Instruction, From>;

export interface Dockerfile {
  directives: Directives;
  /** ARGs before the first FROM: FROM lines see them, stages only those that they name again. */
  metaArgs: Arg[];
  stages: [Stage, ...Stage[]];
}

/** Reads a Dockerfile whole. Raises `invalid_request` with the line of the first thing that cannot be built. */
export function parseDockerfile(text: string): Dockerfile {
  const { directives, statements } = readStatements(text);
  const metaArgs: Arg[] = [];
  const stages: Stage[] = [];
  for (const statement of statements) {
    const instruction = readInstruction(statement, directives.escapeChar);
    const current = stages.at(-1);
    if (instruction.kind === 'from') {
      stages.push({ index: stages.length, from: instruction, instructions: [] });
    } else if (current !== undefined) current.instructions.push(instruction);
    else if (instruction.kind === 'arg') metaArgs.push(instruction);
    else
      throw syntaxError(
        instruction.line,
        'no build stage in current context',
        'The first instruction must be FROM; only ARG may stand before it.',
      );
  }
  const [first, ...others] = stages;
  if (first === undefined)
    throw syntaxError(1, 'there is no instruction in it', 'A Dockerfile begins with FROM image.');
  return { directives, metaArgs, stages: [first, ...others] };
}
