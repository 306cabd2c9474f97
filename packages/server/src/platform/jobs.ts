import type { Transaction } from 'kysely';
import type { Database } from './db/schema.ts';

/** What can be asked of the queue, and the data of each. The state machine lives in the tables: a job only says «look at X». */
export interface JobTypes {
  'snapshot.pull': { snapshotId: string };
  /** Of a sandbox from an image, too. */
  'snapshot.build': { buildId: string };
  'snapshot.remove': { snapshotId: string };
  /** Of one with many captured layers. */
  'snapshot.flatten': { snapshotId: string };
  'sandbox.remove': { sandboxId: string };
}
export type JobName = keyof JobTypes;

/** How long one attempt may take before its signal fires with `timeout`. */
export const JOB_LIMIT_SECONDS: Readonly<Record<JobName, number>> = {
  'snapshot.pull': 65 * 60,
  // It ends when a process has taken the build up; how long a build may take is a matter of its own.
  'snapshot.build': 60,
  'snapshot.remove': 10 * 60,
  'snapshot.flatten': 60 * 60,
  'sandbox.remove': 10 * 60,
};

export interface JobContext {
  /** Fires when the job is cancelled, expires, or the server drains. `signal.reason` is a DarkroomError. */
  signal: AbortSignal;
  attempt: number;
  isLastAttempt: boolean;
}

export interface JobQueue {
  /** Part of the transaction: a rolled-back one leaves no job. One job of a name and key at a time. */
  enqueue<N extends JobName>(trx: Transaction<Database>, name: N, key: string, data: JobTypes[N]): Promise<void>;
  /** Runs the handler for jobs of this name, `concurrency` at a time. A handler that raises a retryable error is tried again with backoff; handlers are re-entrant. */
  work<N extends JobName>(
    name: N,
    options: { concurrency: number },
    handler: (data: JobTypes[N], context: JobContext) => Promise<void>,
  ): Promise<void>;
  /** Ends the job of this key, waiting or running, on whichever server runs it. */
  cancel(name: JobName, key: string): Promise<void>;
  start(): Promise<void>;
  /** Takes no new job, aborts those that run, and waits for them. */
  stop(options: { graceMs: number }): Promise<void>;
}
