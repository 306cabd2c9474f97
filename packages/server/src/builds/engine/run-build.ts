import { parseDockerfile } from '../dockerfile/parse.ts';
import { findStage, planBuild } from '../dockerfile/plan.ts';
import { BuildFailure } from '../failure.ts';
import { createRedactor } from '../logs/redactor.ts';
import type { BuildDefinition, BuildObserver, BuiltImage, StepDescription } from '../types.ts';
import { type StageProgress, sizeOf } from './advance-stage.ts';
import { type BuildContext, openBuildContext } from './build-context.ts';
import { buildStage } from './build-stage.ts';
import type { BuildEngineDeps } from './engine-deps.ts';
import type { Hold } from './hold.ts';
import { imageConfigOf } from './image-config.ts';
import { allSteps, numberSteps } from './number-steps.ts';
import { createOpenSources } from './open-sources.ts';
import { meantAsStage } from './stage-hint.ts';
import { createStageImages } from './stage-images.ts';
import { asBuildFailure, userFailure, withoutSecretValues } from './step-failure.ts';
import type { StepSources } from './step-sources.ts';
import type { StepTools } from './step-types.ts';
import { warningsOf } from './warnings.ts';

const NOTHING_RAN = { command: undefined, exitCode: undefined };

export interface RunBuildDeps extends BuildEngineDeps {
  tools: StepTools;
}

/** One build, to the point where all its layers are made. Settles when all its stages and pulls have. */
export async function runBuild(
  deps: RunBuildDeps,
  definition: BuildDefinition,
  observer: BuildObserver,
  hold: Hold,
  signal: AbortSignal,
): Promise<{ image: BuiltImage; made: string[] }> {
  const { tools, settings, log } = deps;
  const dockerfile = parseDockerfile(definition.dockerfile);
  const { buildArgs, target } = definition;
  const plan = planBuild(dockerfile, { platform: settings.platform, buildArgs, target });
  const numbered = new Map(numberSteps(plan).map((stage) => [stage.planned.stage.index, stage]));
  observer.planned(allSteps([...numbered.values()]));
  for (const warning of warningsOf(dockerfile, [...numbered.values()], buildArgs)) observer.note(undefined, warning);

  // The first failure ends what else the build does.
  const ending = new AbortController();
  const inner = AbortSignal.any([signal, ending.signal]);
  const redactor = createRedactor(definition.secrets.values());
  const images = createStageImages(deps, definition, inner);
  const open = createOpenSources(tools, hold);
  const stages = new Map<number, Promise<StageProgress>>();
  let context: Promise<BuildContext> | undefined;

  function failed(error: unknown, step: StepDescription): unknown {
    if (inner.aborted) return inner.reason;
    const { number, line, text } = step;
    const named = asBuildFailure(error, { number, line, text: textOf(error) ?? text, ...NOTHING_RAN });
    const failure = withoutSecretValues(named, redactor);
    if (failure.class === 'internal')
      log.warn({ err: error, buildId: definition.id, step: number }, 'a step of a build failed');
    observer.failed(number, failure.step?.exitCode);
    ending.abort(failure);
    return failure;
  }

  function sourcesOf(below: number): StepSources {
    return {
      context() {
        const where = { ...deps, ...tools, idBase: settings.idBase };
        context ??= openBuildContext(where, definition, hold, inner);
        return context;
      },
      nothing: () => open.nothing(),
      async named(name) {
        const stage = findStage(dockerfile.stages, name, below);
        if (stage !== undefined) {
          const { layers } = await stageOf(stage.index);
          return await open.open(layers, `stage ${JSON.stringify(stage.from.name ?? String(stage.index))}`);
        }
        if (name === 'scratch') return await open.open([], 'scratch');
        const note = (text: string) => observer.note(undefined, text);
        const above = dockerfile.stages.slice(0, below);
        const { layers } = await images.obtain(name, note).catch((error: unknown) => {
          throw meantAsStage(error, name, above);
        });
        return await open.open(layers, `image ${name}`);
      },
    };
  }

  function stageOf(index: number): Promise<StageProgress> {
    const stage = stages.get(index);
    if (stage !== undefined) return stage;
    // Only a trigger of a base can name one that the plan does not know of.
    throw userFailure(`the stage ${index} is not built, as nothing else in the Dockerfile needs it`);
  }

  if (plan.stages.some(({ stage }) => stage.instructions.some(({ kind }) => kind === 'copy' || kind === 'add'))) {
    deps.files.warm();
  }
  // Pulls begin with the build, those of bases before others.
  for (const { planned, from } of numbered.values()) {
    const note = (text: string) => observer.note(from.number, text);
    if (planned.base.kind === 'image') void images.obtain(planned.base.reference, note);
  }
  for (const { images: names } of plan.stages) {
    for (const name of names) void images.obtain(name, (text) => observer.note(undefined, text));
  }
  for (const { stage } of plan.stages) {
    const own = numbered.get(stage.index);
    if (own === undefined) continue;
    const stageDeps = {
      definition,
      tools,
      hold,
      observer,
      failed,
      signal: inner,
      cache: deps.cache,
      given: plan.given,
      escapeChar: dockerfile.directives.escapeChar,
      sources: sourcesOf(stage.index),
      stage: async (index: number) => await stageOf(index),
      image: async (reference: string, note: (text: string) => void) =>
        await images.obtain(reference, note).catch((error: unknown) => {
          throw meantAsStage(error, reference, dockerfile.stages.slice(0, stage.index));
        }),
    };
    // Each after those that it needs, so that it finds them.
    stages.set(stage.index, buildStage(own, stageDeps));
  }
  await Promise.allSettled(stages.values());
  await images.settled();
  inner.throwIfAborted();

  const { state, layers } = await stageOf(plan.target.stage.index);
  const all = await Promise.all(stages.values());
  const image = { layers: layers.map(({ diffId }) => diffId), config: imageConfigOf(state), sizeBytes: sizeOf(layers) };
  return { image, made: [...new Set(all.flatMap((stage) => stage.layers.map(({ diffId }) => diffId)))] };
}

/** A trigger's own, where it is a trigger of the step that failed. */
function textOf(error: unknown): string | undefined {
  return error instanceof BuildFailure ? error.step?.text : undefined;
}
