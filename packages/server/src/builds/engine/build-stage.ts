import { setImmediate as nextTurn } from 'node:timers/promises';
import type { StepCache } from '../cache/step-cache.ts';
import type { EscapeChar } from '../dockerfile/directives.ts';
import type { GivenValues } from '../dockerfile/scope.ts';
import { beginStage } from '../dockerfile/stage-state.ts';
import type { BuildObserver, CacheUse, StepDescription } from '../types.ts';
import { advance, type StageProgress } from './advance-stage.ts';
import { EMPTY_CONFIG, imageConfigOf } from './image-config.ts';
import type { NumberedStage } from './number-steps.ts';
import type { ObtainedImage } from './stage-images.ts';
import type { StepPlace } from './step-types.ts';
import { readTriggers } from './triggers.ts';

export interface StageDeps extends Pick<StepPlace, 'definition' | 'tools' | 'sources' | 'hold' | 'signal'> {
  cache: StepCache;
  observer: BuildObserver;
  given: GivenValues;
  escapeChar: EscapeChar;
  /** What another stage has become. */
  stage(index: number): Promise<StageProgress>;
  image(reference: string, note: (text: string) => void): Promise<ObtainedImage>;
  /** The failure of a step as that of the build, or the reason of the end of the build. */
  failed(error: unknown, step: StepDescription): unknown;
}

/** Carries out the instructions of a stage one after the other. */
export async function buildStage(numbered: NumberedStage, deps: StageDeps): Promise<StageProgress> {
  const { observer } = deps;
  const { from, steps } = numbered;
  let progress = await inStep(deps, from, async () => {
    observer.cache(from.number, { kind: 'none' });
    let begun = await begin(numbered, deps);
    for (const { instruction, text } of readTriggers(begun.triggers, from.line)) {
      observer.note(from.number, text);
      const tell = (use: CacheUse) => {
        if (use.kind === 'hit') observer.note(from.number, `${text}: cached`);
      };
      begun = { ...begun, ...(await advance(deps, begun, instruction, { ...from, text }, tell)) };
    }
    return { progress: begun, bytes: 0 };
  });
  for (const { instruction, description } of steps) {
    progress = await inStep(deps, description, async () => {
      const tell = (use: CacheUse) => observer.cache(description.number, use);
      const next = await advance(deps, progress, instruction, description, tell);
      const layer = next.layers.length > progress.layers.length ? next.layers.at(-1) : undefined;
      return { progress: next, bytes: layer?.sizeBytes ?? 0 };
    });
  }
  return progress;
}

async function inStep<T extends StageProgress>(
  { observer, signal, failed }: StageDeps,
  step: StepDescription,
  work: () => Promise<{ progress: T; bytes: number }>,
): Promise<StageProgress> {
  // Instructions that change no file take no time but this thread's, and there may be thousands.
  await nextTurn();
  signal.throwIfAborted();
  observer.started(step.number);
  try {
    const { progress, bytes } = await work();
    observer.finished(step.number, { bytes });
    return { state: progress.state, layers: progress.layers };
  } catch (error) {
    throw failed(error, step);
  }
}

interface Beginning extends StageProgress {
  triggers: readonly string[];
}

async function begin({ planned, from }: NumberedStage, deps: StageDeps): Promise<Beginning> {
  const { base } = planned;
  const escapeChar = deps.escapeChar;
  switch (base.kind) {
    case 'scratch':
      return {
        state: beginStage({ config: { ...EMPTY_CONFIG, workingDir: '/' }, escapeChar }),
        layers: [],
        triggers: [],
      };
    case 'stage': {
      const { state: parent, layers } = await deps.stage(base.index);
      const { shell, healthcheck, scope, onbuild } = parent;
      const state = beginStage({ config: imageConfigOf(parent), escapeChar, shell, healthcheck });
      // Unlike an image, a stage hands its ARGs on.
      return { state: { ...state, scope: { ...state.scope, args: scope.args } }, layers, triggers: onbuild };
    }
    case 'image': {
      const note = (text: string) => deps.observer.note(from.number, text);
      const { config, layers } = await deps.image(base.reference, note);
      const { shell, healthcheck, onBuild = [] } = config;
      return { state: beginStage({ config, escapeChar, shell, healthcheck }), layers, triggers: onBuild };
    }
  }
}
