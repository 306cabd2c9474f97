/**
 * Which of the workers of a name look for a job when there may be one. Each look is a statement, so not all of them do for each job:
 * one that is idle is woken, and when it finds one, the next is woken before it begins, for there may be more.
 */
export interface JobWakes {
  /** There may be a job, or many. A worker looks after this call, or, where all are busy, when one of them has ended its job. */
  wake(name: string): void;
  /** A worker of its own for each call. */
  add(name: string, worker: string): void;
  /** It has a job. */
  begin(name: string, worker: string): void;
  /** It looks for another. */
  end(name: string, worker: string): void;
}

/** `notify` lets a worker look: now when it sleeps, else as soon as it has done what it does. */
export function createJobWakes(notify: (worker: string) => void): JobWakes {
  /** In the order in which they are woken. */
  const idle = new Map<string, string[]>();
  const idleOf = (name: string) => {
    const workers = idle.get(name) ?? [];
    idle.set(name, workers);
    return workers;
  };
  const wake = (name: string) => {
    const workers = idleOf(name);
    const worker = workers.shift();
    if (worker === undefined) return;
    // Last, so that jobs that come together find one each.
    workers.push(worker);
    notify(worker);
  };
  return {
    wake,
    add(name, worker) {
      idleOf(name).push(worker);
    },
    begin(name, worker) {
      const workers = idleOf(name);
      idle.set(
        name,
        workers.filter((each) => each !== worker),
      );
      wake(name);
    },
    end(name, worker) {
      idleOf(name).push(worker);
      notify(worker);
    },
  };
}
