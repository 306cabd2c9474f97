import type { Collector } from '../garbage/collector.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import type { EventBus } from '../platform/events.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { JobQueue } from '../platform/jobs.ts';
import type { SecretBox } from '../platform/secrets.ts';
import { boundLogs } from './bound-logs.ts';
import { checkBuildRequest, checkContexts } from './check-request.ts';
import type { ContextStore } from './contexts/context-store.ts';
import type { LogLine } from './logs/build-log.ts';
import { type ReadDeps, type ReadLogOptions, readBuildLog } from './read-log.ts';
import { type BuildRequest, type BuildRow, findBuild, goingBuilds } from './records.ts';
import { type RunDeps, runBuild } from './run-build.ts';
import type { RunningBuild } from './running-build.ts';
import { endedElsewhere } from './settle-failure.ts';
import { createStepTracker } from './step-tracker.ts';
import type { BuildSubject, FindSubject } from './subject.ts';
import { createLogCollector, sweepBuilds } from './sweep.ts';
import { createTurns } from './turns.ts';
import type { BuildEngine } from './types.ts';
import { type BuildView, viewBuild } from './view.ts';
import { type BuildEvent, watchBuild } from './watch-build.ts';

export interface BuildsDeps extends Omit<RunDeps, 'turns' | 'engine' | 'secrets'> {
  engine: BuildEngine;
  events: Pick<EventBus, 'subscribe'>;
  jobs: JobQueue;
  contexts: Pick<ContextStore, 'find'>;
  secrets: SecretBox;
  /** This server process: the owner of what it builds. */
  instanceId: string;
  collectors: Readonly<Record<string, Collector>>;
  clearCache(organizationId: string | undefined): Promise<number>;
  /** The machine that has the logs, and how long one stays whose build is gone. */
  runnerId: string;
  graceSeconds: number;
  /** After each build, however it ended. */
  onEnded(): void;
}

/** The rules of builds: who may begin one, whose turn it is, and how it ends. */
export interface Builds {
  /** Raises `invalid_request` for what could never be built, with the line of the Dockerfile. */
  check(request: BuildRequest): void;
  /** Raises `invalid_request` for a context that the organization has not uploaded. */
  checkContexts(organizationId: string, hashes: readonly string[]): Promise<void>;
  /** Its row is committed: begins it in this process, without the way through the queue, whose job then finds nothing left to do. */
  begin(row: BuildRow): void;
  /** One that this process works on. */
  running(buildId: string): RunningBuild | undefined;
  /** With its steps, as they are now. */
  read(row: BuildRow): Promise<BuildView>;
  /** Lines of its log from an index on; with `follow` until it has ended, which can be seen by then. */
  readLog(row: BuildRow, options: ReadLogOptions): AsyncGenerator<LogLine[]>;
  /** Everything that happens from now on, beginning with how it is. Ends with the build. */
  watch(row: BuildRow, options: { from: number; signal: AbortSignal }): AsyncGenerator<BuildEvent>;
  /** The build's row is gone, or will be: ends what runs of it, and removes its log. */
  discard(buildId: string): Promise<void>;
  /** What builds keep, and may be taken. */
  readonly collectors: Readonly<Record<string, Collector>>;
  /** The disk is full: what is needed least goes, of layers too. Answers how much went. */
  makeRoom(): Promise<number>;
  /** Forgets results of steps and base images of an organization, or of all. Answers how many. */
  clearCache(organizationId: string | undefined): Promise<number>;
  /** Takes jobs from now on. `subjects` are asked in order what a build is for. */
  open(subjects: readonly FindSubject[]): Promise<void>;
  /** Ends what runs, in bounded time; the next server goes on with it. */
  close(): Promise<void>;
}

/** Jobs only hand a build to this process, which is its owner from then on; so few are enough for any number of builds. */
const JOB_CONCURRENCY = 2;
/** For messages that got lost, an owner that was thought dead, and a database that was away. */
const LOOK_EVERY_MS = 10_000;
const SWEEP_EVERY_MS = 60 * 60_000;
const CLOSE_MS = 10_000;
const BOUND_AFTER_MS = 10_000;
const MB = 1024 * 1024;

export function createBuilds(deps: BuildsDeps): Builds {
  const { db, log, settings } = deps;
  const turns = createTurns({ places: settings.concurrency, perOrganization: settings.concurrencyPerOrganization });
  const running = new Map<string, RunningBuild>();
  /** By what it is for. */
  const bySubject = new Map<string, RunningBuild>();
  let subjects: readonly FindSubject[] = [];
  let isOpen = false;
  let isClosing = false;
  let stopListening = () => {};
  const timers: NodeJS.Timeout[] = [];

  const subjectOf = (row: BuildRow): BuildSubject | undefined => {
    for (const find of subjects) {
      const subject = find(row);
      if (subject !== undefined) return subject;
    }
    return undefined;
  };

  /** The job: this process has the build from here on. A second one finds nothing left to do. */
  async function takeUp(buildId: string): Promise<void> {
    if (running.has(buildId)) return;
    const row = await findBuild(db, buildId);
    if (row !== undefined) await take(row);
  }

  async function take(row: BuildRow): Promise<void> {
    if (isClosing || running.has(row.id) || row.outcome !== null) return;
    const subject = subjectOf(row);
    const taken = await subject?.take();
    await failpoint('build.taken');
    if (subject === undefined || taken === undefined || running.has(row.id)) return;
    begin(row, subject, taken.name);
  }

  function begin(row: BuildRow, subject: BuildSubject, name: string): void {
    const controller = new AbortController();
    const tracker = createStepTracker({ db, buildId: row.id, log });
    const ended = Promise.withResolvers<void>();
    const build: RunningBuild = {
      id: row.id,
      subject,
      signal: controller.signal,
      steps: tracker.steps,
      subscribe: tracker.subscribe,
      isSettling: false,
      abort: (reason) => controller.abort(reason),
      ended: ended.promise,
    };
    running.set(row.id, build);
    bySubject.set(subject.id, build);
    if (isClosing) build.abort(stopping());
    void runBuild({ ...deps, turns }, { row, name, subject, tracker, running: build }).finally(() => {
      running.delete(row.id);
      bySubject.delete(subject.id);
      ended.resolve();
      deps.onEnded();
      boundSoon();
    });
  }

  /** Makes the builds that run here and the rows that say so agree again. */
  async function reconcile(): Promise<void> {
    const known = [...running.values()];
    const going = new Set(await goingBuilds(db, deps.instanceId));
    for (const build of known) {
      if (!going.has(build.id) && !build.isSettling) build.abort(endedElsewhere());
    }
    // Its end could not be written, or it could not begin: both may go better now.
    for (const id of going) if (!running.has(id)) await takeUp(id);
  }

  const regularly = (what: string, everyMs: number, work: () => Promise<unknown>) =>
    timers.push(
      setInterval(() => {
        work().catch((error: unknown) => log.warn({ err: error }, `${what}: ${messageOf(error)}`));
      }, everyMs).unref(),
    );

  let bounding: NodeJS.Timeout | undefined;
  /** Builds that end one after another share a look. */
  function boundSoon(): void {
    if (isClosing) return;
    bounding ??= setTimeout(() => {
      bounding = undefined;
      boundLogs(deps, settings.logsMbPerOrganization * MB).then(
        (removed) => removed > 0 && log.info({ removed }, 'old logs of builds made room for new ones'),
        (error: unknown) => log.warn({ err: error }, `logs of builds: ${messageOf(error)}`),
      );
    }, BOUND_AFTER_MS).unref();
  }

  const seen: ReadDeps = { db, logs: deps.logs, events: deps.events, running: (id) => running.get(id) };
  const strayLogs = createLogCollector({ ...deps, isRunning: (id) => running.has(id) });
  const sweep = async () => {
    await sweepBuilds(db);
    await strayLogs.collect({ withoutGrace: false });
  };

  return {
    check: (request) => checkBuildRequest(deps.engine, request),
    collectors: { ...deps.collectors, 'logs of builds': strayLogs },
    makeRoom: deps.makeRoom,
    clearCache: deps.clearCache,
    checkContexts: (organizationId, hashes) => checkContexts(deps.contexts, organizationId, hashes),
    begin(row) {
      if (!isOpen) return;
      take(row).catch((error: unknown) => {
        // Its job comes, too.
        log.warn({ err: error, buildId: row.id }, `a build could not be begun at once: ${messageOf(error)}`);
      });
    },
    running: (buildId) => running.get(buildId),
    read: (row) => viewBuild(seen, row),
    readLog: (row, options) => readBuildLog(seen, row, options),
    watch: (row, options) => watchBuild(seen, row, options),
    async discard(buildId) {
      const build = running.get(buildId);
      build?.abort(endedElsewhere());
      await build?.ended;
      await deps.logs.remove(buildId);
    },
    async open(known) {
      subjects = known;
      isOpen = true;
      stopListening = deps.events.subscribe(({ subjectId, to }) => {
        const build = bySubject.get(subjectId);
        if (build !== undefined && !build.isSettling && !build.subject.isBuilding(to)) build.abort(endedElsewhere());
      });
      regularly('looking after builds', LOOK_EVERY_MS, reconcile);
      regularly('sweeping logs of builds', SWEEP_EVERY_MS, sweep);
      sweep().catch((error: unknown) => log.warn({ err: error }, `sweeping logs of builds: ${messageOf(error)}`));
      await deps.jobs.work('snapshot.build', { concurrency: JOB_CONCURRENCY }, ({ buildId }) => takeUp(buildId));
    },
    async close() {
      isClosing = true;
      stopListening();
      for (const timer of timers) clearInterval(timer);
      clearTimeout(bounding);
      const all = [...running.values()];
      for (const build of all) build.abort(stopping());
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_MS);
      });
      await Promise.race([Promise.all(all.map(({ ended }) => ended)), late]);
      clearTimeout(timer);
    },
  };
}

const stopping = () => new DarkroomError('unavailable', 'The server is stopping.', { retryable: true });
