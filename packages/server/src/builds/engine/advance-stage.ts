import type { Layer } from '../../images/types.ts';
import type { StepCache, StepListener } from '../cache/step-cache.ts';
import type { StageInstruction } from '../dockerfile/parse.ts';
import type { GivenValues } from '../dockerfile/scope.ts';
import { applyInstruction, type StageState } from '../dockerfile/stage-state.ts';
import type { BuildObserver, CacheUse, StepDescription } from '../types.ts';
import { prepareRun } from './run-step.ts';
import { asBuildFailure, formatBytes, limitExceeded } from './step-failure.ts';
import type { PreparedStep, StepPlace } from './step-types.ts';
import { prepareTransfer } from './transfer-step.ts';
import { prepareWorkdir } from './workdir-step.ts';

/** A stage up to one of its instructions. */
export interface StageProgress {
  state: StageState;
  /** Base first. */
  layers: readonly Layer[];
}

export interface AdvanceDeps extends Pick<StepPlace, 'definition' | 'tools' | 'sources' | 'hold' | 'signal'> {
  cache: StepCache;
  observer: Pick<BuildObserver, 'output' | 'note'>;
  given: GivenValues;
}

/** The stage behind one more instruction. `onUse` is told where its files come from, before they are there. */
export async function advance(
  deps: AdvanceDeps,
  { state: before, layers }: StageProgress,
  instruction: StageInstruction,
  step: StepDescription,
  onUse: (use: CacheUse) => void,
): Promise<StageProgress> {
  const { definition, signal } = deps;
  let command: string | undefined;
  try {
    const state = applyInstruction(before, instruction, deps.given);
    const bytesLeft = definition.limits.maxBytes - sizeOf(layers);
    const prepared = await prepare(instruction, { ...deps, state, below: layers, bytesLeft });
    command = prepared?.command;
    if (prepared === undefined) onUse({ kind: 'none' });
    const layer = prepared && (await obtain({ ...deps, below: layers }, prepared, step, onUse));
    if (layer === undefined) return { state, layers };
    return { state, layers: withinLimit([...layers, layer], definition.limits.maxBytes) };
  } catch (error) {
    if (signal.aborted) throw error;
    const { number, line, text } = step;
    throw asBuildFailure(error, { number, line, text, command, exitCode: undefined });
  }
}

async function obtain(
  { definition, cache, observer, signal, hold, tools, below }: AdvanceDeps & Pick<StepPlace, 'below'>,
  prepared: PreparedStep,
  step: StepDescription,
  onUse: (use: CacheUse) => void,
): Promise<Layer | undefined> {
  const request = {
    organizationId: definition.organizationId,
    buildId: definition.id,
    parts: prepared.parts,
    text: step.text,
    noCache: definition.noCache,
    maxAgeSeconds: definition.cacheMaxAgeSeconds,
    hasSecrets: prepared.hasSecrets === true,
  };
  // It may outlive the build, when another one waits for it, and goes on reading what this one has opened.
  const execute: PreparedStep['execute'] = async (stepSignal, report) => {
    const letGo = hold.retain();
    try {
      const ids = below.map(({ diffId }) => diffId);
      await tools.health?.ensureSound(ids, stepSignal);
      return await prepared.execute(stepSignal, report);
    } finally {
      await letGo();
    }
  };
  const listener: StepListener = {
    onUse,
    onEvent(event) {
      if (event.kind === 'note') observer.note(step.number, event.text);
      else observer.output(step.number, event.stream, event.bytes);
    },
  };
  return (await cache.obtain(request, execute, listener, signal)).layer;
}

/** Undefined for what only changes the configuration. */
async function prepare(instruction: StageInstruction, place: StepPlace): Promise<PreparedStep | undefined> {
  switch (instruction.kind) {
    case 'run':
      return await prepareRun(instruction, place);
    case 'copy':
    case 'add':
      return await prepareTransfer(instruction, place);
    case 'workdir':
      return place.state.config.workingDir === '/' ? undefined : prepareWorkdir(place);
    default:
      return undefined;
  }
}

function withinLimit(layers: readonly Layer[], maxBytes: number): readonly Layer[] {
  const bytes = sizeOf(layers);
  if (bytes <= maxBytes) return layers;
  throw limitExceeded(
    `the image has grown to ${formatBytes(bytes)}, more than the ${formatBytes(maxBytes)} that an image may have`,
    'Remove in the same step what is not needed later, copy only results out of a stage, or have the limit raised.',
  );
}

export function sizeOf(layers: readonly Layer[]): number {
  return layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
