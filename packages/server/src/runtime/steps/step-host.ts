import type { ContainerHost } from '../container/container-host.ts';
import type { Crun } from '../container/crun.ts';
import type { StepSurroundings } from './surroundings.ts';

/** What every step works with. */
export interface StepHost extends ContainerHost {
  /** With a state directory of its own. */
  stepCrun: Crun;
  surroundings: StepSurroundings;
}
