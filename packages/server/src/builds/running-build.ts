import type { StepTracker } from './step-tracker.ts';
import type { StepRow } from './steps.ts';
import type { BuildSubject } from './subject.ts';

/** A build that this process works on, or that waits here for its turn. */
export interface RunningBuild {
  readonly id: string;
  readonly subject: BuildSubject;
  /** Fires with why it must end. */
  readonly signal: AbortSignal;
  readonly steps: readonly StepRow[];
  subscribe: StepTracker['subscribe'];
  /** The end of it is being written: what now happens to the subject is our own doing. */
  isSettling: boolean;
  abort(reason: unknown): void;
  /** Nothing of it runs any more, and its log is complete. Never raises. */
  readonly ended: Promise<void>;
}
