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
    .flatMap(({ steps }) => steps.flatMap(({ instruction }) => brokenList(instruction) ?? []))
    .slice(0, MAX_SHOWN);
  return [...brackets, ...unusedArguments(dockerfile, buildArgs)];
}

/** `['a', 'b']`, which a shell takes for a program whose name begins with the bracket. A shell's own test has a blank there. */
const BRACKETS = { run: /^\[[^\s[]/, cmd: /^\[[^\s[]|^\[\s*["'“‘]/, entrypoint: /^\[[^\s[]|^\[\s*["'“‘]/ } as const;

function brokenList(instruction: Instruction): string | undefined {
  const { kind, line } = instruction;
  const word = kind.toUpperCase();
  if (kind === 'copy' || kind === 'add') {
    if (!instruction.sources.some((source) => /^\[["'“‘]/.test(source))) return undefined;
    return `Warning: line ${line} is no JSON list, so that its brackets are taken for a pattern: write ${word} ["source", "target"], with double quotes.`;
  }
  if (kind !== 'run' && kind !== 'cmd' && kind !== 'entrypoint') return undefined;
  if (instruction.command.form === 'exec' || !BRACKETS[kind].test(instruction.command.script)) return undefined;
  return `Warning: line ${line} is no JSON list, so that a shell gets its text with the brackets: write ${word} ["program", "argument"], with double quotes.`;
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
