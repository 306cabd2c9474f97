import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseReference } from '../../images/reference.ts';
import { conflict, DarkroomError } from '../../platform/errors.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { parseDockerfile } from '../dockerfile/parse.ts';
import { planBuild } from '../dockerfile/plan.ts';
import { BuildFailure } from '../failure.ts';
import type { BuildEngine } from '../types.ts';
import { createCacheMounts } from './cache-mounts.ts';
import { createCacheMountCollector } from './collect-cache-mounts.ts';
import type { BuildEngineDeps } from './engine-deps.ts';
import { createHold } from './hold.ts';
import { runBuild } from './run-build.ts';
import { createScratchSpace } from './scratch-space.ts';
import { asBuildFailure } from './step-failure.ts';
import { createStepSlots } from './step-slots.ts';

/** What is not removed by then is removed later, or by the next server. */
const TIDY_MS = 5000;

/** The engine of one server. Nobody else writes below the pool's `build-mounts` and `build-tmp`. */
export function createBuildEngine(deps: BuildEngineDeps): BuildEngine {
  const { steps, layers, health, files, fetcher, settings, log, cache } = deps;
  const { poolRoot, platform, stepConcurrency = availableParallelism(), cacheMountBytes } = settings;
  const cacheMounts = createCacheMounts({ directory: join(poolRoot, 'build-mounts'), maxBytes: cacheMountBytes, log });
  const scratch = createScratchSpace(join(poolRoot, 'build-tmp'), log);
  const slots = createStepSlots(stepConcurrency);
  const tools = { steps, layers, health, files, fetcher, settings, slots, scratch, cacheMounts };
  const closing = new AbortController();
  const running = new Set<Promise<unknown>>();

  const build: BuildEngine['build'] = async (definition, observer, signal) => {
    const inner = AbortSignal.any([signal, closing.signal]);
    const hold = createHold((err) =>
      log.warn({ err, buildId: definition.id }, 'something of a build was not released'),
    );
    const letGo = hold.retain();
    const layerHold = layers.hold();
    hold.add(() => layerHold[Symbol.dispose]());
    try {
      inner.throwIfAborted();
      const { image, made } = await runBuild({ ...deps, tools }, definition, observer, hold, inner);
      const unsynced = cache.unsynced(made);
      if (unsynced.length > 0) {
        await layers.sync();
        await failpoint('build.synced');
        await cache.markDurable(unsynced);
        await failpoint('build.durable');
      }
      return image;
    } catch (error) {
      inner.throwIfAborted();
      // Whoever builds again at once shall find what the step has filled empty.
      if (error instanceof BuildFailure && error.code === 'insufficient_storage') await within(cacheMounts.settled());
      if (error instanceof BuildFailure) throw error;
      const failure = asBuildFailure(error, undefined);
      if (failure.class === 'internal') log.warn({ err: error, buildId: definition.id }, 'a build failed');
      throw failure;
    } finally {
      await letGo();
    }
  };

  return {
    async build(definition, observer, signal) {
      const run = build(definition, observer, signal);
      const settled = run.catch(() => {}).finally(() => running.delete(settled));
      running.add(settled);
      return await run;
    },
    check({ dockerfile, target, buildArgs }) {
      const { stages } = planBuild(parseDockerfile(dockerfile), { platform, buildArgs, target });
      for (const { stage, base, images } of stages) {
        const references = base.kind === 'image' ? [base.reference, ...images] : images;
        for (const reference of references) checkReference(reference, stage.from.line);
      }
    },
    makeRoom: () => cacheMounts.makeRoom(),
    cacheMounts: createCacheMountCollector(cacheMounts),
    async close() {
      closing.abort(conflict('the server is shutting down', { retryable: true }));
      await Promise.all(running);
      await within(Promise.all([scratch.close(), cacheMounts.settled()]));
    },
  };
}

async function within(tidied: Promise<unknown>): Promise<void> {
  await Promise.race([tidied, delay(TIDY_MS, undefined, { ref: false })]);
}

function checkReference(reference: string, line: number): void {
  try {
    parseReference(reference);
  } catch (error) {
    if (!(error instanceof DarkroomError)) throw error;
    throw new DarkroomError(error.code, `Dockerfile line ${line}: ${error.message}`, {
      cause: error,
      details: { line },
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}
