import { chmod, chown, mkdir } from 'node:fs/promises';
import { conflict, DarkroomError } from '../../platform/errors.ts';
import type { ContainerHost } from '../container/container-host.ts';
import { createCrun } from '../container/crun.ts';
import { createSemaphore } from '../semaphore.ts';
import type { StepProcess, StepRuntime } from '../step-types.ts';
import { endLeftoverSteps } from './leftover-steps.ts';
import { openMergedTree } from './merged-tree.ts';
import { runStep } from './run-step.ts';
import type { StepHost } from './step-host.ts';
import { stepLayout } from './step-layout.ts';
import { prepareSurroundings, type SurroundingsOptions } from './surroundings.ts';

export interface StepRuntimeOptions extends SurroundingsOptions {
  crun: string;
  startConcurrency: number;
}

export interface OwnedStepRuntime extends StepRuntime {
  /** Ends what an earlier server left running. Before the network pool is opened, whose namespaces they had. */
  open(host: ContainerHost): Promise<void>;
  /** Ends all that runs. */
  close(): Promise<void>;
}

export function createStepRuntime(options: StepRuntimeOptions): OwnedStepRuntime {
  // Apart from the one of sandboxes, whose starts steps shall not delay.
  const startSlot = createSemaphore(options.startConcurrency);
  const running = new Map<string, Promise<StepProcess>>();
  let opened: StepHost | undefined;

  function host(): StepHost {
    if (opened) return opened;
    throw new DarkroomError('unavailable', 'the runtime is not open');
  }

  return {
    async run(spec) {
      const into = host();
      if (running.has(spec.id)) throw conflict(`step ${spec.id} is running already`);
      const starting = startSlot(() => runStep(into, spec));
      running.set(spec.id, starting);
      const forget = () => void running.delete(spec.id);
      starting.then(({ exited }) => exited.then(forget, forget), forget);
      return starting;
    },

    openTree: async (layers) => openMergedTree(host(), layers),

    async open(container) {
      const { stepsDir, crunRoot, crunBinary, emptyDir } = stepLayout(container.layout);
      for (const dir of [stepsDir, emptyDir]) await mkdir(dir, { recursive: true, mode: 0o711 });
      // Mounted where a step takes files from nothing at all, it looks as the root of an empty image does.
      await chown(emptyDir, container.idBase, container.idBase);
      await chmod(emptyDir, 0o755);
      const { watcher } = container;
      const stepCrun = await createCrun({ command: options.crun, root: crunRoot, mountPoint: crunBinary, watcher });
      await endLeftoverSteps(container, stepCrun);
      opened = { ...container, stepCrun, surroundings: await prepareSurroundings(container.layout, options) };
    },

    async close() {
      const closing = opened;
      if (closing === undefined) return;
      opened = undefined;
      const ends = [...running.values()].map(async (starting) => (await starting).kill());
      await Promise.allSettled(ends);
      closing.stepCrun.close();
    },
  };
}
