import { setTimeout as delay } from 'node:timers/promises';
import { abortable } from '../../images/registry/deadline.ts';
import { BuildFailure } from '../failure.ts';
import { createEventReplay } from './event-replay.ts';
import type { StepEvent, StepResult } from './step-cache.ts';

type OnEvent = (event: StepEvent) => void;

/** A step that is being carried out, for all builds that wait for it. */
export interface StepRun {
  /** The build that began it. */
  readonly buildId: string;
  /**
   * Resolves with the run. Tells all of its events, from the beginning. Whoever is the last to be aborted ends the run and waits for that, a while.
   */
  follow(onEvent: OnEvent, signal: AbortSignal): Promise<StepResult>;
}

export interface StepRuns {
  /** Those of this key that others may still join. */
  of(key: string): readonly StepRun[];
  /** It can be joined until it has ended. `work` must have recorded its result when it resolves. */
  begin(key: string, buildId: string, work: (signal: AbortSignal, report: OnEvent) => Promise<StepResult>): StepRun;
  /** Counts runs that have ended: who looked for a result before one did looks again. */
  readonly ended: number;
  /** Resolves when nothing runs any more, or after a while. */
  settled(): Promise<void>;
}

/** How long the last one to leave waits until the run has ended. Ending a tree of processes takes two seconds at most. */
const CLEANUP_MS = 10_000;

export function createStepRuns(): StepRuns {
  const joinable = new Map<string, StepRun[]>();
  const running = new Set<Promise<unknown>>();
  let ended = 0;

  function leaveOut(key: string, run: StepRun): void {
    const others = joinable.get(key)?.filter((other) => other !== run) ?? [];
    if (others.length > 0) joinable.set(key, others);
    else joinable.delete(key);
  }

  return {
    of: (key) => joinable.get(key) ?? [],
    get ended() {
      return ended;
    },
    begin(key, buildId, work) {
      const controller = new AbortController();
      const listeners = new Set<OnEvent>();
      const replay = createEventReplay();
      const result = work(controller.signal, (event) => {
        replay.add(event);
        for (const listener of listeners) listener(event);
      });
      const run: StepRun = {
        buildId,
        async follow(onEvent, signal) {
          // Each has its own, so that one that follows twice is counted twice.
          const listener: OnEvent = (event) => onEvent(event);
          for (const event of replay.events()) listener(event);
          listeners.add(listener);
          try {
            return await abortable(result, signal);
          } finally {
            listeners.delete(listener);
            if (signal.aborted && listeners.size === 0) {
              // First of all: whoever comes now must not join a run that is being ended.
              leaveOut(key, run);
              controller.abort(signal.reason);
              await waitFor(result, CLEANUP_MS);
            }
          }
        },
      };
      const over = result
        .catch(() => {})
        .finally(() => {
          ended++;
          leaveOut(key, run);
          running.delete(over);
        });
      running.add(over);
      joinable.set(key, [...(joinable.get(key) ?? []), run]);
      return run;
    },
    async settled() {
      await waitFor(Promise.all(running), CLEANUP_MS);
    },
  };
}

/**
 * Whether a failed run says how it would go for every build: the command ran to its end. What the limits or the end of the one build
 * did to it says nothing of the others.
 */
export function isFailureOfAll(error: unknown): boolean {
  if (!(error instanceof BuildFailure) || error.step?.exitCode === undefined) return false;
  return error.class !== 'limit_exceeded' && error.class !== 'internal';
}

async function waitFor(promise: Promise<unknown>, ms: number): Promise<void> {
  const enough = new AbortController();
  const ended = promise.then(
    () => {},
    () => {},
  );
  await Promise.race([ended, delay(ms, undefined, { signal: enough.signal }).catch(() => {})]);
  enough.abort();
}
