import type { Layer } from '../../images/types.ts';
import type { KeyParts, StepEvent, StepResult } from '../cache/step-cache.ts';
import type { StageState } from '../dockerfile/stage-state.ts';
import type { BuildDefinition } from '../types.ts';
import type { CacheMounts } from './cache-mounts.ts';
import type { BuildEngineDeps } from './engine-deps.ts';
import type { Hold } from './hold.ts';
import type { ScratchSpace } from './scratch-space.ts';
import type { StepSlots } from './step-slots.ts';
import type { StepSources } from './step-sources.ts';

/** What steps are carried out with. */
export interface StepTools
  extends Pick<BuildEngineDeps, 'steps' | 'layers' | 'health' | 'files' | 'fetcher' | 'settings'> {
  slots: StepSlots;
  scratch: ScratchSpace;
  cacheMounts: CacheMounts;
}

/** The place of an instruction in a build. */
export interface StepPlace {
  definition: BuildDefinition;
  tools: StepTools;
  state: StageState;
  /** The layers below, base first. */
  below: readonly Layer[];
  /** What the layers of the image may still take. */
  bytesLeft: number;
  sources: StepSources;
  /** Of what the build reads: it stays until the build and all its steps have ended. */
  hold: Hold;
  /** Of the build. */
  signal: AbortSignal;
}

/** An instruction that is about to be looked up, and carried out where it is not found. */
export interface PreparedStep {
  parts: KeyParts;
  /** What runs, with variables filled in; undefined where nothing does. */
  command: string | undefined;
  hasSecrets?: boolean;
  execute(signal: AbortSignal, report: (event: StepEvent) => void): Promise<StepResult>;
}
