import type { Instruction } from '../dockerfile/instructions.ts';
import type { Dockerfile } from '../dockerfile/parse.ts';
import { PROXY_VARIABLES } from '../dockerfile/scope.ts';
import type { NumberedStage } from './number-steps.ts';

const MAX_SHOWN = 10;
const MAX_NAME = 100;

/** What is allowed and hardly meant, one line for each. Looks at the text alone. */
export function warningsOf(
  dockerfile: Dockerfile,
  planned: readonly NumberedStage[],
  buildArgs: ReadonlyMap<string, string>,
): string[] {
  const brackets = planned
    .flatMap(({ steps }) => steps.map(({ instruction }) => instruction))
    .filter(isBrokenList)
    .slice(0, MAX_SHOWN)
    .map(
      ({ kind, line }) =>
        `Warning: line ${line} is no JSON list, so that a shell gets its text with the brackets: write ${kind.toUpperCase()} ["program", "argument"], with double quotes.`,
    );
  return [...brackets, ...unusedArguments(dockerfile, buildArgs)];
}

/** `['a', 'b']`, which a shell takes for a program whose name begins with the bracket. A shell's own test has a blank there. */
const BRACKETS = { run: /^\[[^\s[]/, cmd: /^\[[^\s[]|^\[\s*["'“‘]/, entrypoint: /^\[[^\s[]|^\[\s*["'“‘]/ } as const;

function isBrokenList(instruction: Instruction): boolean {
  const { kind } = instruction;
  if (kind !== 'run' && kind !== 'cmd' && kind !== 'entrypoint') return false;
  return instruction.command.form === 'shell' && BRACKETS[kind].test(instruction.command.script);
}

function unusedArguments({ metaArgs, stages }: Dockerfile, buildArgs: ReadonlyMap<string, string>): string[] {
  const declared = new Set<string>(PROXY_VARIABLES);
  for (const instruction of [...metaArgs, ...stages.flatMap(({ instructions }) => instructions)]) {
    if (instruction.kind === 'arg') for (const { name } of instruction.args) declared.add(name);
  }
  // Names that are made of variables are known later.
  if ([...declared].some((name) => /[$"'\\]/.test(name))) return [];
  const unused = [...buildArgs.keys()].filter((name) => !declared.has(name) && !name.startsWith('BUILDKIT_'));
  if (unused.length === 0) return [];
  const shown = unused.slice(0, MAX_SHOWN).map((name) => JSON.stringify(name.slice(0, MAX_NAME)));
  const more = unused.length > shown.length ? ` and ${unused.length - shown.length} more` : '';
  return [`Warning: no ARG in the Dockerfile takes ${shown.join(', ')}${more} of the build arguments.`];
}
