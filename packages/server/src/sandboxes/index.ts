import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BuildRow, findBuild } from '../builds/records.ts';
import type { FindSubject } from '../builds/subject.ts';
import type { Collector } from '../garbage/collector.ts';
import { persistently } from '../platform/db/persistently.ts';
import { DarkroomError, invalidRequest, messageOf, notFound } from '../platform/errors.ts';
import { createActivity } from './activity.ts';
import { sandboxSubject } from './build-subject.ts';
import { type Captured, type CaptureRequest, captureSandbox } from './capture.ts';
import * as changes from './change.ts';
import { createSpoolCollector } from './collect-spool.ts';
import { createStoppedCollector } from './collect-stopped.ts';
import { createSandbox } from './create.ts';
import type { CreateRequest } from './create-request.ts';
import { doWhatIsDue } from './due.ts';
import { createEntrypoints } from './entrypoint.ts';
import { exitReason, markEnded } from './exit.ts';
import { type ForksOptions, findParent, listAncestors, listForks } from './family.ts';
import { createFileLinks, type FileLinks } from './file-links.ts';
import { findLiving, findSandbox, sandboxNotFound } from './find.ts';
import { type ForkChild, forkSandbox } from './fork.ts';
import { keepIdleTimes } from './keep-idle-times.ts';
import { type ListRequest, listSandboxes, type SandboxPage } from './list.ts';
import { setNetwork } from './network.ts';
import type { NetworkRequest } from './network-policy.ts';
import { pauseSandbox } from './pause.ts';
import { createPreviews, type Previews } from './preview.ts';
import { createProfiles } from './profiles.ts';
import { type Recovered, recoverSandboxes } from './recover.ts';
import { finishRemovals, finishRemove, removeSandbox } from './remove.ts';
import { type ResizeRequest, resizeSandbox } from './resize.ts';
import { createSchedule } from './schedule.ts';
import { createSshAccess, type SshAccess } from './ssh-access.ts';
import { startSandbox } from './start.ts';
import { stopSandbox } from './stop.ts';
import { takeUpBuild } from './take-up-build.ts';
import { createToolbox, type Toolbox } from './toolbox/index.ts';
import { createInterpreters, type Interpreters } from './toolbox/interpreter/index.ts';
import { createSessions, type Sessions } from './toolbox/sessions/index.ts';
import { createTerminals, type Terminals } from './toolbox/terminals/index.ts';
import type { Caller, SandboxContext, SandboxDeps, SandboxRow } from './types.ts';

export type { CreateRequest } from './create-request.ts';
export type { ListRequest, SandboxPage } from './list.ts';
export type { PreviewCredentials, PreviewSubject, Previews, PreviewTarget } from './preview.ts';
export type { Caller, SandboxDeps, SandboxRow, SandboxSettings } from './types.ts';

/** A removal mostly waits for the kernel. With a third of this, twenty clients on two cores deleted faster than was removed. */
const REMOVE_CONCURRENCY = 12;

export interface Sandboxes {
  create(caller: Caller, request: CreateRequest): Promise<SandboxRow>;
  get(caller: Caller, idOrName: string): Promise<SandboxRow>;
  list(caller: Caller, request: ListRequest): Promise<SandboxPage>;
  start(caller: Caller, idOrName: string): Promise<SandboxRow>;
  stop(caller: Caller, idOrName: string, options: { force: boolean }): Promise<SandboxRow>;
  /** Starts one whose start or stop had failed. */
  recoverFailed(caller: Caller, idOrName: string): Promise<SandboxRow>;
  /** Stops its processes where they are; `start` lets them go on. */
  pause(caller: Caller, idOrName: string): Promise<SandboxRow>;
  resize(caller: Caller, idOrName: string, request: ResizeRequest): Promise<SandboxRow>;
  /** Makes a snapshot of its files. */
  capture(caller: Caller, idOrName: string, request: CaptureRequest): Promise<Captured>;
  /** New sandboxes with its files, as they are at one moment. */
  fork(caller: Caller, idOrName: string, children: readonly ForkChild[]): Promise<SandboxRow[]>;
  forks(caller: Caller, idOrName: string, options?: ForksOptions): Promise<SandboxRow[]>;
  parent(caller: Caller, idOrName: string): Promise<SandboxRow>;
  ancestors(caller: Caller, idOrName: string): Promise<SandboxRow[]>;
  remove(caller: Caller, idOrName: string): Promise<SandboxRow>;
  replaceLabels(caller: Caller, idOrName: string, labels: Readonly<Record<string, string>>): Promise<SandboxRow>;
  setPublic(caller: Caller, idOrName: string, isPublic: boolean): Promise<SandboxRow>;
  setAutoStop(caller: Caller, idOrName: string, minutes: number): Promise<SandboxRow>;
  setAutoArchive(caller: Caller, idOrName: string, minutes: number): Promise<SandboxRow>;
  setAutoDelete(caller: Caller, idOrName: string, minutes: number): Promise<SandboxRow>;
  setNetwork(caller: Caller, idOrName: string, network: NetworkRequest): Promise<SandboxRow>;
  noteActivity(caller: Caller, idOrName: string): Promise<void>;
  /** The build that it was made by. Raises 404 for one that was made from a snapshot. */
  build(caller: Caller, idOrName: string): Promise<BuildRow>;
  /** For builds to know what they are for. */
  readonly buildSubject: FindSubject;
  /** Gives work on a sandbox, whose server ended, to another. False when it must end. */
  takeUp(orphan: { id: string; state: string; ownerId: string }): Promise<boolean>;
  /** Raises 404 for an unknown sandbox, else says that this cannot be done yet. */
  refuse(caller: Caller, idOrName: string, what: string): Promise<never>;
  readonly toolbox: Toolbox;
  readonly ssh: SshAccess;
  readonly terminals: Terminals;
  readonly interpreters: Interpreters;
  readonly sessions: Sessions;
  readonly previews: Previews;
  readonly fileLinks: FileLinks;
  /** What of sandboxes may be taken. */
  readonly collectors: Readonly<Record<string, Collector>>;
  /** Makes the database true again, then takes jobs and watches containers. Call once, before serving; the runtime is open. */
  open(): Promise<Recovered>;
  /** Waits for what is under way. Sandboxes go on running. */
  close(): Promise<void>;
}

/** The rules of sandboxes. `spoolDirectory` is made if it is not there. */
export function createSandboxes(deps: SandboxDeps): Sandboxes {
  const pending = new Set<Promise<void>>();
  const closing = new AbortController();
  const context: SandboxContext = {
    ...deps,
    activity: createActivity(deps.db, deps.log),
    schedule: createSchedule(() => doWhatIsDue(context), deps.log),
    entrypoints: createEntrypoints(deps.runtime, join(deps.settings.spoolDirectory, 'entrypoints'), deps.log),
    profiles: createProfiles(deps.runtime),
    terminals: { sandboxEnded: (id) => terminals.sandboxEnded(id) },
    interpreters: { sandboxEnded: (id) => interpreters.sandboxEnded(id) },
    sessions: { sandboxEnded: (id) => sessions.sandboxEnded(id) },
    background(what, work) {
      const watched: Promise<void> = work
        .then(
          () => undefined,
          (error: unknown) => {
            // A change that lost against another one is no failure.
            if (error instanceof DarkroomError && error.code === 'conflict') return;
            deps.log.error({ err: error }, `${what}: ${messageOf(error)}`);
          },
        )
        .finally(() => pending.delete(watched));
      pending.add(watched);
    },
  };
  const toolbox = createToolbox(context);
  const terminals = createTerminals(context);
  const interpreters = createInterpreters(context);
  const sessions = createSessions(context);

  return {
    create: (caller, request) => createSandbox(context, caller, request),
    get: (caller, idOrName) => findSandbox(deps.db, caller.organizationId, idOrName),
    list: (caller, request) => listSandboxes(context, caller, request),
    start: (caller, idOrName) => startSandbox(context, caller, idOrName),
    stop: (caller, idOrName, options) => stopSandbox(context, caller, idOrName, options),
    async recoverFailed(caller, idOrName) {
      const row = await findLiving(deps.db, caller.organizationId, idOrName);
      if (row.state !== 'error') throw invalidRequest(`Sandbox is not in error state: its state is ${row.state}`);
      return startSandbox(context, caller, row.id);
    },
    pause: (caller, idOrName) => pauseSandbox(context, caller, idOrName),
    resize: (caller, idOrName, request) => resizeSandbox(context, caller, idOrName, request),
    capture: (caller, idOrName, request) => captureSandbox(context, caller, idOrName, request),
    fork: (caller, idOrName, children) => forkSandbox(context, caller, idOrName, children),
    forks: (caller, idOrName, options) => listForks(context, caller, idOrName, options),
    parent: (caller, idOrName) => findParent(context, caller, idOrName),
    ancestors: (caller, idOrName) => listAncestors(context, caller, idOrName),
    remove: (caller, idOrName) => removeSandbox(context, caller, idOrName),
    replaceLabels: (caller, idOrName, labels) => changes.replaceLabels(context, caller, idOrName, labels),
    setPublic: (caller, idOrName, isPublic) => changes.setPublic(context, caller, idOrName, isPublic),
    setAutoStop: (caller, idOrName, minutes) => changes.setAutoStop(context, caller, idOrName, minutes),
    setAutoArchive: (caller, idOrName, minutes) => changes.setAutoArchive(context, caller, idOrName, minutes),
    setAutoDelete: (caller, idOrName, minutes) => changes.setAutoDelete(context, caller, idOrName, minutes),
    setNetwork: (caller, idOrName, network) => setNetwork(context, caller, idOrName, network),
    noteActivity: (caller, idOrName) => changes.noteActivity(context, caller, idOrName),
    async build(caller, idOrName) {
      const row = await findSandbox(deps.db, caller.organizationId, idOrName);
      if (row.build_id === null) throw notFound(`Sandbox ${row.id} has no build info`);
      const build = await findBuild(deps.db, row.build_id);
      // It goes with its sandbox.
      if (build === undefined) throw sandboxNotFound(idOrName);
      return build;
    },
    buildSubject: sandboxSubject(context),
    takeUp: (orphan) => takeUpBuild(context, orphan),
    refuse: (caller, idOrName, what) => changes.refuse(context, caller, idOrName, what),
    toolbox,
    ssh: createSshAccess(context),
    terminals,
    interpreters,
    sessions,
    previews: createPreviews(context, deps.secrets),
    fileLinks: createFileLinks(context, deps.secrets),
    collectors: {
      'stopped sandboxes': createStoppedCollector(context),
      'files of sandboxes': createSpoolCollector({ db: deps.db, ...deps.settings }),
    },
    async open() {
      deps.clock.onJump((ms) => keepIdleTimes(deps.db, deps.settings.runnerId, ms));
      await mkdir(deps.settings.spoolDirectory, { recursive: true, mode: 0o700 });
      deps.runtime.onExit((exit) => {
        // Nobody else would notice before the next server does.
        const noted = persistently(
          () => markEnded(context, exit.id, exitReason(exit.reason)),
          closing.signal,
          Number.POSITIVE_INFINITY,
        );
        context.background(`end of sandbox ${exit.id}`, noted);
      });
      const recovered = await recoverSandboxes(context);
      await deps.jobs.work('sandbox.remove', { concurrency: REMOVE_CONCURRENCY }, ({ sandboxId }) =>
        finishRemove(context, sandboxId),
      );
      return recovered;
    },
    async close() {
      closing.abort();
      await context.schedule.close();
      await sessions.close();
      await Promise.all([terminals.close(), interpreters.close()]);
      await Promise.all(pending);
      await finishRemovals(context);
      context.entrypoints.close();
      await context.activity.close();
    },
  };
}
