import type { LogLine } from './logs/build-log.ts';
import { type ReadDeps, readBuildLog } from './read-log.ts';
import type { BuildRow } from './records.ts';
import type { StepRow } from './steps.ts';
import { type BuildView, viewBuild } from './view.ts';

export type BuildEvent =
  /** How it is: at first, and when much has changed at once. */
  | { kind: 'build'; view: BuildView }
  | { kind: 'step'; step: StepRow }
  | { kind: 'log'; line: LogLine }
  /** Nothing has happened for a while. */
  | { kind: 'quiet' }
  | { kind: 'end'; view: BuildView };

/** Less than what proxies wait for. */
const QUIET_MS = 10_000;

/**
 * The build as it changes, and its log from a line on. Where this server stops, or nobody works on the build for a moment, it ends without an
 * `end`: whoever watches comes again.
 */
export async function* watchBuild(
  deps: ReadDeps,
  row: BuildRow,
  { from, signal }: { from: number; signal: AbortSignal },
): AsyncGenerator<BuildEvent> {
  const left = new AbortController();
  const lines = readBuildLog(deps, row, { from, follow: true, signal: AbortSignal.any([signal, left.signal]) });
  const steps = changedSteps(deps, row.id);
  try {
    // Listened to before it is read, so that no change falls in between.
    steps.attach();
    yield { kind: 'build', view: await viewBuild(deps, row) };
    let next = lines.next();
    for (;;) {
      const what = await firstOf(next, steps.changed(), QUIET_MS);
      if (steps.attach()) yield { kind: 'build', view: await viewBuild(deps, row) };
      for (const step of steps.take()) yield { kind: 'step', step };
      if (what === 'quiet') yield { kind: 'quiet' };
      if (what !== 'lines') continue;
      const { done, value } = await next;
      if (done) break;
      for (const line of value) yield { kind: 'log', line };
      next = lines.next();
    }
    if (signal.aborted) return;
    const view = await viewBuild(deps, row);
    if (view.row.outcome !== null) yield { kind: 'end', view };
  } finally {
    steps.close();
    left.abort(new Error('nobody watches any more'));
    await lines.return(undefined).catch(() => {});
  }
}

/** Of several changes of a step, the last is told. */
function changedSteps({ running }: Pick<ReadDeps, 'running'>, buildId: string) {
  const changed = new Map<number, StepRow>();
  let signal = Promise.withResolvers<void>();
  let unsubscribe: (() => void) | undefined;
  return {
    /** True when the build has begun here since the last call. */
    attach(): boolean {
      if (unsubscribe !== undefined) return false;
      const build = running(buildId);
      if (build === undefined) return false;
      unsubscribe = build.subscribe((step) => {
        changed.set(step.number, { ...step });
        signal.resolve();
      });
      return true;
    },
    changed: () => signal.promise,
    take(): StepRow[] {
      const steps = [...changed.values()];
      changed.clear();
      signal = Promise.withResolvers<void>();
      return steps;
    },
    close: () => unsubscribe?.(),
  };
}

async function firstOf(
  lines: Promise<unknown>,
  changed: Promise<void>,
  quietMs: number,
): Promise<'lines' | 'steps' | 'quiet'> {
  let timer: NodeJS.Timeout | undefined;
  const quiet = new Promise<'quiet'>((resolve) => {
    timer = setTimeout(resolve, quietMs, 'quiet');
  });
  try {
    return await Promise.race([lines.then(() => 'lines' as const), changed.then(() => 'steps' as const), quiet]);
  } finally {
    clearTimeout(timer);
  }
}
