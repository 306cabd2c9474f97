import { invalidRequest } from '../../platform/errors.ts';
import type { RunMount } from './instructions.ts';
import type { Dockerfile, Stage, StageInstruction } from './parse.ts';
import { formatPlatform, type Platform, platformVariables, readPlatform } from './platform.ts';
import { declareArgs, type GivenValues, type Scope, word } from './scope.ts';
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
  const given = globalValues(dockerfile, options);
  const planned = stages.map((stage) => planStage(stage, dockerfile, options, given));
  const target = planned[targetIndex(stages, options.target)];
  if (target === undefined) throw invalidRequest('The Dockerfile has no stage');

  const order: PlannedStage[] = [];
  const seen = new Set<number>();
  // A stage needs only stages above it, so that this ends.
  const visit = (each: PlannedStage) => {
    if (seen.has(each.stage.index)) return;
    seen.add(each.stage.index);
    for (const index of each.needs) {
      const needed = planned[index];
      if (needed !== undefined) visit(needed);
    }
    order.push(each);
  };
  visit(target);
  return { stages: order, target, given };
}

/** The stage above `below` that a name or number means; names win, as a stage may be called by a number. */
export function findStage(stages: readonly Stage[], reference: string, below: number): Stage | undefined {
  const above = stages.slice(0, below);
  const name = reference.toLowerCase();
  return above.findLast((stage) => stage.from.name === name) ?? (/^\d+$/.test(name) ? above[Number(name)] : undefined);
}

function planStage(stage: Stage, dockerfile: Dockerfile, options: PlanOptions, given: GivenValues): PlannedStage {
  const { from, index } = stage;
  const scope: Scope = { escapeChar: dockerfile.directives.escapeChar, env: new Map(), args: given.global };
  const reference = word(scope, from.line, from.image);
  if (reference === '') {
    throw syntaxError(from.line, `base name (${from.image}) should not be blank`, 'Give the ARG a value before FROM.');
  }
  if (from.platform !== undefined) checkPlatform(from.line, word(scope, from.line, from.platform), options.platform);
  const parent = findStage(dockerfile.stages, reference, index);
  const base: StageBase =
    parent !== undefined
      ? { kind: 'stage', index: parent.index }
      : reference === 'scratch'
        ? { kind: 'scratch' }
        : { kind: 'image', reference };
  const needs = new Set(parent === undefined ? [] : [parent.index]);
  const images = new Set<string>();
  for (const { line, name } of stage.instructions.flatMap(sourcesOf)) {
    const source = findStage(dockerfile.stages, name, index);
    if (source !== undefined) needs.add(source.index);
    else if (/^\d+$/.test(name)) throw syntaxError(line, `there is no stage ${name} above this one`);
    else if (name.toLowerCase() === from.name)
      throw syntaxError(line, `the stage ${name} cannot take files from itself`);
    else if (name !== 'scratch') images.add(name);
  }
  return { stage, base, needs: [...needs], images: [...images] };
}

function sourcesOf(instruction: StageInstruction): { line: number; name: string }[] {
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

function globalValues({ metaArgs, directives }: Dockerfile, { platform, buildArgs }: PlanOptions): GivenValues {
  const automatic = new Map(Object.entries(platformVariables(platform)));
  let scope: Scope = { escapeChar: directives.escapeChar, env: new Map(), args: automatic };
  for (const arg of metaArgs) scope = declareArgs(scope, arg, { buildArgs, global: automatic });
  return { buildArgs, global: scope.args };
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
