import type { BuildEngine, BuildObserver } from '../builds/types.ts';
import type { Metrics } from '../platform/metrics.ts';

/** An engine whose builds show in the metrics. */
export function measuredEngine(engine: BuildEngine, metrics: Metrics): BuildEngine {
  return {
    ...engine,
    async build(definition, observer, signal) {
      const started = performance.now();
      let outcome: 'done' | 'failed' | 'cancelled' = 'failed';
      try {
        const image = await engine.build(definition, countingSteps(observer, metrics), signal);
        outcome = 'done';
        return image;
      } finally {
        if (outcome === 'failed' && signal.aborted) outcome = 'cancelled';
        metrics.observeBuild({ outcome, seconds: (performance.now() - started) / 1000 });
      }
    },
  };
}

function countingSteps(observer: BuildObserver, metrics: Metrics): BuildObserver {
  return {
    planned: (steps) => observer.planned(steps),
    started: (step) => observer.started(step),
    cache(step, use) {
      if (use.kind !== 'none') metrics.addBuildStep(use.kind);
      observer.cache(step, use);
    },
    output: (step, stream, bytes) => observer.output(step, stream, bytes),
    note: (step, text) => observer.note(step, text),
    finished: (step, result) => observer.finished(step, result),
    failed: (step, exitCode) => observer.failed(step, exitCode),
  };
}
