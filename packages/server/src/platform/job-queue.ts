import { type Kysely, sql, type Transaction } from 'kysely';
import { fromKysely, type JobResult, type JobWithMetadata, PgBoss } from 'pg-boss';
import type { BaseLogger } from 'pino';
import type { ClockWatch } from './clock-watch.ts';
import type { Listener } from './db/listener.ts';
import { persistently } from './db/persistently.ts';
import { isOfDatabase } from './db/problems.ts';
import type { Database } from './db/schema.ts';
import { DarkroomError, messageOf } from './errors.ts';
import { failpoint } from './failpoints.ts';
import type { Instance } from './instance.ts';
import { allowOneMore, claimRun, dueNames, type JobRun, jobsOfNobody, releaseRun, takeDeadRuns } from './job-runs.ts';
import { settleJobTimes } from './job-times.ts';
import { createJobWakes } from './job-wakes.ts';
import { JOB_LIMIT_SECONDS, type JobContext, type JobName, type JobQueue, type JobTypes } from './jobs.ts';

const CANCEL_CHANNEL = 'darkroom_job_cancel';
const MAX_ATTEMPTS = 5;
/** A job whose process died is found by this where no restart takes it up; the library's least is 10. */
const HEARTBEAT_SECONDS = 20;
const HEARTBEAT_CHECK_SECONDS = 15;
/** Jobs are announced by NOTIFY; looking for them all the same is for a message that got lost. */
const POLL_SECONDS = 30;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
/** How long a job is tried to be handed back while the database cannot take it; then its missing heartbeat does that. */
const HAND_BACK_MS = 60_000;
/** A job of a key that is running elsewhere is looked at again after this. */
const BUSY_RETRY_MS = 2_000;
const KEEP_ENDED_SECONDS = 24 * 60 * 60;

const NAMES = Object.keys(JOB_LIMIT_SECONDS) as JobName[];

type Handler<N extends JobName> = (data: JobTypes[N], context: JobContext) => Promise<void>;

/** The queue on pg-boss. Its statements run on the server's own pool, its messages arrive on the server's own listener. */
export function createJobQueue(options: {
  db: Kysely<Database>;
  listener: Listener;
  instance: Pick<Instance, 'id' | 'isSteady'>;
  clock: ClockWatch;
  log: Pick<BaseLogger, 'info' | 'warn' | 'error'>;
}): JobQueue {
  const { db, listener, instance, clock, log } = options;
  const running = new Map<string, AbortController>();
  const deferred = new Map<string, Set<string>>();
  const timers = new Set<NodeJS.Timeout>();
  const draining = new AbortController();
  let stopListening = () => {};
  let supervising: NodeJS.Timeout | undefined;
  clock.onJump(async () => {
    await settleJobTimes(db, MAX_RETRY_MS);
    for (const name of NAMES) wakes.wake(name);
  });

  const boss = new PgBoss({
    db: {
      ...fromKysely(db),
      async listen(channel, _wakeAll, onReconnect) {
        const stop = await listener.listen(channel, { onMessage: wakes.wake, onReconnect });
        return { close: async () => stop() };
      },
    },
    useListenNotify: true,
    schedule: false,
    // By `supervise` below, which asks first whether the clock can be trusted.
    supervise: false,
    superviseIntervalSeconds: HEARTBEAT_CHECK_SECONDS,
    monitorIntervalSeconds: HEARTBEAT_CHECK_SECONDS,
  });
  const wakes = createJobWakes((worker) => boss.notifyWorker(worker));
  boss.on('error', (error) => log.error({ err: error }, `jobs: ${messageOf(error)}`));
  boss.on('warning', (warning) => log.warn(warning, 'jobs: the queue warns'));

  /** Hands out again what runs for too long or gave no sign of life: not right after a time in which nobody could give one. */
  async function supervise(): Promise<void> {
    try {
      await clock.settle();
      if (instance.isSteady()) await boss.supervise();
      for (const name of await dueNames(db)) wakes.wake(name);
    } catch (error) {
      if (!draining.signal.aborted)
        log.warn({ err: error }, `jobs: they could not be looked through: ${messageOf(error)}`);
    }
    if (!draining.signal.aborted) supervising = setTimeout(supervise, HEARTBEAT_CHECK_SECONDS * 1000).unref();
  }

  /** Gives the job back to the queue, to be handed out again after a while. */
  async function handBack(job: JobWithMetadata, afterMs: number, why: unknown, counts: boolean): Promise<void> {
    const signal = AbortSignal.any([AbortSignal.timeout(HAND_BACK_MS), draining.signal]);
    // A run that was cut short from outside is no failed attempt, and after the last one there would be no job to hand out.
    if (!counts) await persistently(() => allowOneMore(db, job), signal);
    await persistently(() => boss.fail(job.name, job, { message: messageOf(why) }), signal);
    const startAfter = `${Math.round(afterMs)} milliseconds`;
    await persistently(() => boss.update(job.name, undefined, { id: job.id, startAfter }), signal);
    if (afterMs > 0 && !draining.signal.aborted) wakeLater(job.name, afterMs);
  }

  function wakeLater(name: string, ms: number): void {
    const timer = setTimeout(() => {
      timers.delete(timer);
      wakes.wake(name);
    }, ms + 1);
    timers.add(timer);
  }

  async function release(run: JobRun): Promise<void> {
    try {
      await releaseRun(db, run);
      const id = runId(run.name, run.key);
      const waiting = deferred.get(id) ?? [];
      deferred.delete(id);
      for (const jobId of waiting) await boss.update(run.name, undefined, { id: jobId, startAfter: '0 seconds' });
    } catch (error) {
      log.warn({ err: error, ...run }, `the end of a job could not be written down: ${messageOf(error)}`);
    }
  }

  /** One that waits for a job of the same key in this process is handed out when that one ends, else after a while. */
  async function defer(job: JobWithMetadata, id: string, isHere: boolean): Promise<void> {
    await handBack(job, BUSY_RETRY_MS, 'another job of this key is running', false);
    if (!isHere) return;
    if (running.has(id)) deferred.set(id, (deferred.get(id) ?? new Set()).add(job.id));
    else await boss.update(job.name, undefined, { id: job.id, startAfter: '0 seconds' });
  }

  async function runOne<N extends JobName>(job: JobWithMetadata<JobTypes[N]>, handler: Handler<N>): Promise<JobResult> {
    const key = job.singletonKey ?? job.id;
    const run: JobRun = { name: job.name, key, jobId: job.id, instanceId: instance.id };
    const settled = (status: JobResult['status'], output?: object): JobResult => ({
      id: job.id,
      status,
      ...(output && { output }),
    });
    if (draining.signal.aborted) {
      await handBack(job, 0, 'the server is stopping', false);
      return settled('failed');
    }
    const controller = new AbortController();
    const id = runId(job.name, key);
    // Known before the claim is asked for, so that a cancel in between finds it in one of the two.
    const mine = running.has(id) ? undefined : controller;
    if (mine) running.set(id, mine);
    try {
      if (mine) await clock.settle();
      const claim = mine === undefined ? 'busy' : await claimRun(db, run, { isSteady: instance.isSteady() });
      if (claim === 'busy') {
        await defer(job, id, mine === undefined);
        return settled('failed');
      }
      if (claim === 'ended') return settled('completed');
      await failpoint('job.claimed');
      return await runClaimed(job, handler, controller, settled);
    } finally {
      if (mine) {
        running.delete(id);
        await release(run);
        await failpoint('job.released');
      }
    }
  }

  async function runClaimed<N extends JobName>(
    job: JobWithMetadata<JobTypes[N]>,
    handler: Handler<N>,
    controller: AbortController,
    settled: (status: JobResult['status'], output?: object) => JobResult,
  ): Promise<JobResult> {
    // Runs that were cut short from outside have raised both numbers.
    const cutShort = job.retryLimit - (MAX_ATTEMPTS - 1);
    const attempt = job.retryCount + 1 - cutShort;
    const isLastAttempt = job.retryCount >= job.retryLimit;
    const onLost = () =>
      controller.abort(
        new DarkroomError('timeout', `the job ${job.name} took too long, or was given to another server`, {
          retryable: true,
        }),
      );
    job.signal.addEventListener('abort', onLost, { once: true });
    try {
      await handler(job.data, { signal: controller.signal, attempt, isLastAttempt });
      await failpoint('job.done');
      return settled('completed');
    } catch (error) {
      const about = { job: job.name, key: job.singletonKey, attempt, err: error };
      if (draining.signal.aborted) {
        log.info(about, 'a job was interrupted because the server stops; it goes on after the start');
        await handBack(job, 0, error, false);
        return settled('failed');
      }
      // While the database is away or full no job can say how it ended, so no attempt is the last one then.
      const counts = !isOfDatabase(error);
      if (counts && (isLastAttempt || !mayRetry(error))) {
        log.warn(about, `a job failed: ${messageOf(error)}`);
        return settled('deadletter', { message: messageOf(error) });
      }
      const waitMs = retryDelay(counts ? attempt : cutShort + 1);
      log.warn({ ...about, waitMs }, `a job failed and will be tried again: ${messageOf(error)}`);
      await handBack(job, waitMs, error, counts);
      return settled('failed');
    } finally {
      job.signal.removeEventListener('abort', onLost);
    }
  }

  /** What a dead process was running is failed now, not when its heartbeat is missed, and handed out at once. */
  async function takeUpDeadRuns(): Promise<void> {
    const dead = [...(await takeDeadRuns(db)), ...(await jobsOfNobody(db, instance.id))];
    for (const { name, jobId } of dead) {
      await failpoint('job.dead-taken');
      await boss.fail(name, jobId, { message: 'the server that ran it ended' });
      await boss.update(name, undefined, { id: jobId, startAfter: '0 seconds' });
      log.info({ job: name, jobId }, 'a job of a server that ended is taken up');
    }
  }

  return {
    async enqueue<N extends JobName>(trx: Transaction<Database>, name: N, key: string, data: JobTypes[N]) {
      await boss.send(name, data, { singletonKey: key, db: fromKysely(trx) });
    },
    async work<N extends JobName>(name: N, { concurrency }: { concurrency: number }, handler: Handler<N>) {
      const settings = {
        includeMetadata: true,
        perJobResults: true,
        pollingIntervalSeconds: POLL_SECONDS,
        notifyPollingIntervalSeconds: POLL_SECONDS,
      } as const;
      for (let count = 0; count < concurrency; count++) {
        const worker: string = await boss.work<JobTypes[N], unknown, typeof settings>(name, settings, async (jobs) => {
          wakes.begin(name, worker);
          try {
            return await Promise.all(jobs.map((job) => runOne<N>(job, handler)));
          } finally {
            if (!draining.signal.aborted) wakes.end(name, worker);
          }
        });
        wakes.add(name, worker);
      }
    },
    async cancel(name, key) {
      const jobs = await boss.findJobs(name, { key });
      const ids = jobs.filter((job) => ['created', 'retry', 'active'].includes(job.state)).map((job) => job.id);
      if (ids.length > 0) await boss.cancel(name, ids);
      await sql`select pg_notify(${CANCEL_CHANNEL}, ${runId(name, key)})`.execute(db);
    },
    async start() {
      await boss.start();
      for (const name of NAMES) {
        const settings = {
          notify: true,
          retryLimit: MAX_ATTEMPTS - 1,
          expireInSeconds: JOB_LIMIT_SECONDS[name],
          heartbeatSeconds: HEARTBEAT_SECONDS,
          deleteAfterSeconds: KEEP_ENDED_SECONDS,
        };
        await boss.createQueue(name, settings);
        await boss.updateQueue(name, settings);
      }
      stopListening = await listener.listen(CANCEL_CHANNEL, {
        onMessage: (id) => running.get(id)?.abort(new DarkroomError('conflict', 'the job was cancelled')),
        // Missed messages are made good by the heartbeat, which finds that the job is no longer active.
        onReconnect: () => {},
      });
      await takeUpDeadRuns();
      supervising = setTimeout(supervise, HEARTBEAT_CHECK_SECONDS * 1000).unref();
    },
    async stop({ graceMs }) {
      draining.abort();
      clearTimeout(supervising);
      for (const timer of timers) clearTimeout(timer);
      for (const controller of running.values()) {
        controller.abort(new DarkroomError('unavailable', 'the server is stopping', { retryable: true }));
      }
      await boss.stop({ graceful: true, timeout: graceMs, close: false });
      stopListening();
    },
  };
}

const runId = (name: string, key: string) => `${name}:${key}`;

/** What nobody foresaw may be gone the next time; what was understood says so itself. */
const mayRetry = (error: unknown) => !(error instanceof DarkroomError) || error.retryable;

/** Doubles each time; between half and all of it, so that jobs that failed together do not come back together. */
function retryDelay(tries: number): number {
  return Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (tries - 1)) * (0.5 + Math.random() / 2);
}
