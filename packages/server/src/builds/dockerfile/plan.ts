import { invalidRequest } from '../../platform/errors.ts';
import { sharedWork } from './expansion-budget.ts';
import type { Instruction, RunMount } from './instructions.ts';
import type { Dockerfile, Stage } from './parse.ts';
import { formatPlatform, type Platform, platformVariables, readPlatform } from './platform.ts';
import { readInstruction } from './read-instruction.ts';
import { declareArgs, type GivenValues, type Scope, word } from './scope.ts';
import { readStatements } from './statements.ts';
import { syntaxError } from './syntax-error.ts';

/** What a stage begins with. */
export type StageBase = { kind: 'scratch' } | { kind: 'stage'; index: number } | { kind: 'image'; reference: string };

export interface PlannedStage {
  stage: Stage;
  base: StageBase;
  /** Stages that must be done before all of its instructions can be: its base, and what it copies or mounts from. */
  needs: number[];
  /** Images that it copies or mounts from. */
  images: string[];
}

export interface BuildPlan {
  /** Only what the target needs, each after those it needs. */
  stages: PlannedStage[];
  target: PlannedStage;
  given: GivenValues;
}

export interface PlanOptions {
  platform: Platform;
  buildArgs: ReadonlyMap<string, string>;
  /** The name or number of a stage; the last one where nothing is said. */
  target?: string | undefined;
}

/** Which stages are built, and from what. Raises `invalid_request` with the line for a base that cannot be. */
export function planBuild(dockerfile: Dockerfile, options: PlanOptions): BuildPlan {
  const { stages } = dockerfile;
  const scope = globalScope(dockerfile, options);
  const given: GivenValues = { buildArgs: options.buildArgs, global: scope.args };
  const named = stages.map((stage) => ({ stage, reference: baseName(stage, scope) }));
  const planned = new Map<number, PlannedStage>();
  // A stage needs only stages above it, so that this ends. What is wrong in one that nobody needs does not matter.
  const visit = (index: number): PlannedStage => {
    const known = planned.get(index);
    if (known !== undefined) return known;
    const found = named[index];
    if (found === undefined) throw invalidRequest('The Dockerfile has no stage');
    const stage = planStage(found.stage, found.reference, dockerfile, options, scope);
    for (const needed of stage.needs) visit(needed);
    planned.set(index, stage);
    return stage;
  };
  const target = visit(targetIndex(stages, options.target));
  return { stages: [...planned.values()], target, given };
}

/** The last stage above `below` that a name means, or a number. */
export function findStage(stages: readonly Stage[], reference: string, below: number): Stage | undefined {
  return (
    findNamed(stages, reference, below) ??
    (/^\d+$/.test(reference) ? stages.slice(0, below)[Number(reference)] : undefined)
  );
}

function findNamed(stages: readonly Stage[], reference: string, below: number): Stage | undefined {
  const name = reference.toLowerCase();
  return stages.slice(0, below).findLast((stage) => stage.from.name === name);
}

function baseName({ from }: Stage, scope: Scope): string {
  const reference = word(scope, from.line, from.image);
  if (reference !== '') return reference;
  throw syntaxError(from.line, `base name (${from.image}) should not be blank`, 'Give the ARG a value before FROM.');
}

/** What FROM lines see. */
function globalScope({ metaArgs, directives }: Dockerfile, { platform, buildArgs }: PlanOptions): Scope {
  const automatic = new Map(Object.entries(platformVariables(platform)));
  const { escapeChar } = directives;
  const scope: Scope = { escapeChar, env: new Map(), args: automatic, work: sharedWork() };
  return declareArgs(scope, metaArgs, { buildArgs, global: automatic });
}

function planStage(
  stage: Stage,
  reference: string,
  dockerfile: Dockerfile,
  options: PlanOptions,
  scope: Scope,
): PlannedStage {
  const { from, index } = stage;
  if (from.platform !== undefined) {
    checkPlatform(from.line, word(scope, from.line, from.platform), options.platform);
  }
  // Numbers are for COPY and mounts: an image may be called by one.
  const parent = findNamed(dockerfile.stages, reference, index);
  const base: StageBase =
    parent !== undefined
      ? { kind: 'stage', index: parent.index }
      : reference === 'scratch'
        ? { kind: 'scratch' }
        : { kind: 'image', reference };
  const needs = new Set(parent === undefined ? [] : [parent.index]);
  const images = new Set<string>();
  const triggers = parent === undefined ? [] : triggersOf(parent, from.line);
  for (const { line, name } of [...triggers, ...stage.instructions].flatMap(sourcesOf)) {
    const source = findStage(dockerfile.stages, name, index);
    if (source !== undefined) needs.add(source.index);
    else if (/^\d+$/.test(name)) throw syntaxError(line, `there is no stage ${name} above this one`);
    else if (name.toLowerCase() === from.name)
      throw syntaxError(line, `the stage ${name} cannot take files from itself`);
    else if (name !== 'scratch') images.add(name);
  }
  return { stage, base, needs: [...needs], images: [...images] };
}

/** What is carried out first in the stages on it. */
function triggersOf({ instructions }: Stage, line: number): Instruction[] {
  return instructions.flatMap((instruction) =>
    instruction.kind === 'onbuild'
      ? readStatements(instruction.trigger).statements.map((statement) => readInstruction({ ...statement, line }, '\\'))
      : [],
  );
}

function sourcesOf(instruction: Instruction): { line: number; name: string }[] {
  const { line } = instruction;
  if (instruction.kind === 'copy') return instruction.from === undefined ? [] : [{ line, name: instruction.from }];
  if (instruction.kind !== 'run') return [];
  return instruction.mounts.flatMap((mount) => {
    const name = mountSource(mount);
    return name === undefined ? [] : [{ line, name }];
  });
}

function mountSource(mount: RunMount): string | undefined {
  return mount.type === 'bind' || mount.type === 'cache' ? mount.from : undefined;
}

function targetIndex(stages: readonly Stage[], target: string | undefined): number {
  if (target === undefined || target === '') return stages.length - 1;
  const found = findStage(stages, target, stages.length);
  if (found !== undefined) return found.index;
  const names = stages.flatMap(({ from }) => from.name ?? []);
  throw invalidRequest(`The Dockerfile has no stage ${target}`, {
    hint: names.length === 0 ? 'None of its stages has a name.' : `Its stages are ${names.join(', ')}.`,
  });
}

function checkPlatform(line: number, text: string, own: Platform): void {
  const platform = readPlatform(text);
  if (platform !== undefined && platform.architecture === own.architecture) return;
  throw syntaxError(
    line,
    `the platform ${text} cannot be built here`,
    `This machine builds for ${formatPlatform(own)}.`,
  );
}
