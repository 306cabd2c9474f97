/** Lets so many steps run at the same time, whoever they belong to. */
export interface StepSlots {
  /**
   * Runs the task when it is its turn. Those who wait are taken from one organization after the other, and within one from one build after
   * the other, so that nobody's many steps stand before another's first. Raises the signal's reason while it waits.
   */
  run<T>(owner: SlotOwner, signal: AbortSignal, task: () => Promise<T>): Promise<T>;
}

export interface SlotOwner {
  organizationId: string;
  buildId: string;
}

type Start = () => void;

export function createStepSlots(limit: number): StepSlots {
  let free = limit;
  /** By organization and build, each in the order of their turns. */
  const waiting = new Map<string, Map<string, Start[]>>();

  function enqueue({ organizationId, buildId }: SlotOwner, start: Start): void {
    const builds = waiting.get(organizationId) ?? new Map<string, Start[]>();
    waiting.set(organizationId, builds);
    builds.set(buildId, [...(builds.get(buildId) ?? []), start]);
  }

  function dequeue({ organizationId, buildId }: SlotOwner, start: Start): void {
    const builds = waiting.get(organizationId);
    const starts = builds?.get(buildId)?.filter((each) => each !== start);
    if (builds === undefined || starts === undefined) return;
    if (starts.length > 0) builds.set(buildId, starts);
    else builds.delete(buildId);
    if (builds.size === 0) waiting.delete(organizationId);
  }

  /** Whose turn it is; organization and build go to the end of their rows. */
  function next(): Start | undefined {
    const [organization] = waiting;
    if (organization === undefined) return undefined;
    const [organizationId, builds] = organization;
    const [build] = builds;
    if (build === undefined) return undefined;
    const [buildId, [start, ...others]] = build;
    waiting.delete(organizationId);
    builds.delete(buildId);
    if (others.length > 0) builds.set(buildId, others);
    if (builds.size > 0) waiting.set(organizationId, builds);
    return start;
  }

  function release(): void {
    const start = next();
    if (start === undefined) free += 1;
    else start();
  }

  function acquire(owner: SlotOwner, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (free > 0) {
      free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const start = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        dequeue(owner, start);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      enqueue(owner, start);
    });
  }

  return {
    async run(owner, signal, task) {
      await acquire(owner, signal);
      try {
        return await task();
      } finally {
        release();
      }
    },
  };
}
