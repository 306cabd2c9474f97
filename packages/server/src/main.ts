import { Server as TlsServer } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { openAuditJournal } from './audit/audit-journal.ts';
import { createAuditWriter } from './audit/audit-writer.ts';
import type { ContextStore } from './builds/contexts/context-store.ts';
import type { Builds } from './builds/index.ts';
import type { Fsck } from './fsck/index.ts';
import type { Garbage } from './garbage/garbage.ts';
import { buildApp, closeApp } from './http/app.ts';
import { fsckRoutes } from './http/daytona/fsck.ts';
import { apiRoutes } from './http/daytona/routes.ts';
import { sandboxRoutes } from './http/daytona/sandbox/index.ts';
import { SNAPSHOT_JSON_SQL } from './http/daytona/snapshot-json.ts';
import { toolboxGuests } from './http/daytona/toolbox/guests.ts';
import { toolboxRoutes } from './http/daytona/toolbox/index.ts';
import { createPreviewFront } from './http/preview/index.ts';
import { RateLimiter } from './http/rate-limit.ts';
import { parseListen } from './platform/config.ts';
import type { Config } from './platform/config-schema.ts';
import { createDiskGuard, type DiskGuard } from './platform/disk-guard.ts';
import { diskUse, poolUse } from './platform/disk-room.ts';
import { DarkroomError, messageOf } from './platform/errors.ts';
import { armFailpoints } from './platform/failpoints.ts';
import { createLog } from './platform/log.ts';
import { createMetrics } from './platform/metrics.ts';
import { startOldRowSweeper } from './platform/old-rows.ts';
import { startQuietCollector } from './platform/quiet-collector.ts';
import { readStateCounts } from './platform/state-counts.ts';
import type { Sandboxes } from './sandboxes/index.ts';
import { createLayerSweeper } from './snapshots/layer-sweeper.ts';
import { createSnapshotReads } from './snapshots/read.ts';
import type { SshGateway } from './ssh/gateway.ts';
import { createClosers } from './start/closers.ts';
import type { Ground } from './start/ground.ts';
import { startBuilds } from './start/start-builds.ts';
import { startContexts } from './start/start-contexts.ts';
import { startFsck } from './start/start-fsck.ts';
import { startGarbage } from './start/start-garbage.ts';
import { type Machine, startMachine } from './start/start-machine.ts';
import { JOB_GRACE_MS, startPlatform } from './start/start-platform.ts';
import { spoolDirectory, startSandboxes } from './start/start-sandboxes.ts';
import { startSnapshots } from './start/start-snapshots.ts';
import { startSsh } from './start/start-ssh.ts';
import { startTls, type Tls } from './start/start-tls.ts';
import { bootstrapTenancy } from './tenancy/bootstrap.ts';
import { createKeyVerifier } from './tenancy/key-verifier.ts';
import { createUploadKeys } from './tenancy/upload-credentials.ts';
import { serverVersion } from './version.ts';
import { settleDeliveryTimes } from './webhooks/deliveries.ts';
import { startWebhooks } from './webhooks/webhooks.ts';

export interface StartOptions {
  /** Where layers and sandboxes lie (`ensurePool`). */
  pool: { root: string };
  /** Names the mount namespace that this process came from. */
  hostMountNamespace?: string | undefined;
}

export interface RunningServer {
  /** Without a path and without a slash at the end. */
  url: string;
  /** What clients must trust; undefined without TLS or with a certificate of the operator's own. */
  caFile: string | undefined;
  /** Undefined where it is switched off. */
  ssh: Pick<SshGateway, 'address' | 'hostKey'> | undefined;
  /** Drains requests and jobs. Sandboxes go on running. */
  stop(): Promise<void>;
}

const REQUEST_GRACE_MS = 10_000;

/**
 * The one place that knows all floors: starts them from the ground up, and ends them in the opposite order. The caller has
 * locked the state directory, made the pool ready, and runs as root in a mount namespace of its own.
 */
export async function startServer(config: Config, options: StartOptions): Promise<RunningServer> {
  const log = createLog(config);
  if (config.failpoints !== '') {
    armFailpoints(config.failpoints);
    log.warn({ failpoints: config.failpoints }, 'failpoints are armed: this server breaks on purpose');
  }
  const closers = createClosers(log);
  try {
    const tls = await startTls({ config, log, closers });
    const platform = await startPlatform({ config, log, closers }, options.pool.root);
    // The machine starts later, and with these.
    let running: Machine | undefined;
    let guard: DiskGuard | undefined;
    const metrics = createMetrics({
      states: () => readStateCounts(platform.db),
      disk: () => diskUse(options.pool.root),
      pressure: async () => guard?.pressure(),
      sandboxes: async () => running?.runtime.totals(),
    });
    closers.add('metrics', () => metrics.close());
    const ground: Ground = { config, log, closers, metrics, ...platform };

    // What can be given up is there later, too.
    let giveUp = async (): Promise<unknown> => undefined;
    const disk = createDiskGuard({
      ...config.pool,
      use: () => poolUse(options.pool.root, config.stateDir),
      makeRoom: () => giveUp(),
      onRefused: () => metrics.addDiskRefusal(),
      log,
    });
    guard = disk;
    const machine = await startMachine(ground, { ...options, poolRoot: options.pool.root, disk });
    running = machine;
    const contexts = await startContexts(ground, { poolRoot: options.pool.root, disk });
    const sweeper = createLayerSweeper({
      db: ground.db,
      layers: machine.layers,
      runnerId: ground.instance.runnerId,
      graceSeconds: config.gc.graceMinutes * 60,
      isPressed: async () => (await disk.pressure()) > 0,
      onRemoved: (items) => metrics.addCollected(items),
      log,
    });
    closers.add('layer sweeper', () => sweeper.close());
    const builds = await startBuilds(ground, {
      machine,
      contexts,
      poolRoot: options.pool.root,
      layerSweeper: sweeper,
    });
    const sandboxes = await startSandboxes(ground, machine, builds);
    await startSnapshots(ground, machine, { builds, sandboxes, sweeper });
    // Here too, and so before the floors above them: a job must not find what it works with closed.
    closers.add('work on jobs', () => platform.jobs.stop({ graceMs: JOB_GRACE_MS }));
    const ssh = await startSsh(ground, sandboxes);
    const garbage = startGarbage(ground, { ...machine, sweeper, contexts, builds, sandboxes });
    giveUp = async () => {
      await builds.makeRoom();
      await garbage.collect({ withoutGrace: true });
    };
    // Before what it gives up ends.
    closers.add('disk guard', () => disk.close());
    const fsck = startFsck(ground, {
      ...machine,
      poolRoot: options.pool.root,
      contexts,
      containers: machine.runtime,
    });
    const app = await buildServer(ground, machine, { sandboxes, builds, ssh, contexts, tls, disk, fsck, garbage });
    closers.add('HTTP', () => closeApp(app, { graceMs: REQUEST_GRACE_MS }));
    const url = await listen(app, config, tls);
    await bootstrapTenancy(platform.db, {
      stateDir: config.stateDir,
      url: config.publicUrl ?? url,
      quotas: config.quotas,
    });
    const collector = startQuietCollector({ log });
    closers.add('collector of memory', () => collector.close());
    return { url, ssh, caFile: tls?.caFile, stop: () => closers.closeAll() };
  } catch (error) {
    await closers.closeAll();
    throw error;
  }
}

interface Served {
  sandboxes: Sandboxes;
  builds: Builds;
  ssh: SshGateway | undefined;
  contexts: ContextStore;
  tls: Tls | undefined;
  disk: DiskGuard;
  fsck: Fsck;
  garbage: Garbage;
}

async function buildServer(
  ground: Ground,
  machine: Machine,
  { sandboxes, builds, ssh, contexts, tls, disk, fsck, garbage }: Served,
): Promise<FastifyInstance> {
  const { config, log, closers, db, reader, jobs } = ground;
  const keys = createKeyVerifier({
    db,
    onError: (error) => log.warn({ err: error }, 'the last use of a key was not noted'),
  });
  closers.add('keys', () => keys.close());
  const { anonymous, authenticated, failedAuth, sandboxCreate, sandboxLifecycle } = config.rateLimits;
  const rateLimiter = new RateLimiter({
    anonymous,
    authenticated,
    'failed-auth': failedAuth,
    'sandbox-create': sandboxCreate,
    'sandbox-lifecycle': sandboxLifecycle,
  });
  const readiness = [
    {
      name: 'database',
      check: async () => void (await db.selectFrom('organizations').select('id').limit(1).execute()),
    },
    { name: 'runtime', check: async () => void (await machine.runtime.list()) },
  ];
  const uploadKeys = createUploadKeys(ground.secrets);
  const audit = createAuditWriter({ db, journal: openAuditJournal(config.stateDir), log });
  closers.add('audit log', () => audit.close());
  const oldRows = startOldRowSweeper({ db, keep: config.keep, log });
  closers.add('sweep of old rows', () => oldRows.close());
  ground.clock.onJump((ms) => settleDeliveryTimes(db, ms));
  const webhooks = startWebhooks({
    db,
    events: ground.events,
    secrets: ground.secrets,
    settings: config.webhooks,
    log,
  });
  closers.add('webhooks', () => webhooks.close());
  return buildApp({
    log,
    version: serverVersion,
    tls: tls?.identity,
    metrics: ground.metrics,
    readiness,
    previews: createPreviewFront({
      previews: sandboxes.previews,
      keys,
      rateLimiter,
      settings: config.preview,
      publicUrl: config.publicUrl,
      protocol: tls === undefined ? 'http' : 'https',
      metrics: ground.metrics,
      log,
    }),
    daytona: {
      audit,
      disk,
      auth: {
        keys,
        rateLimiter,
      },
      api: [
        ...apiRoutes({
          config,
          ssh,
          version: serverVersion,
          readiness,
          db,
          events: ground.events,
          webhooks,
          jobs,
          rateLimiter,
          keys,
          secrets: ground.secrets,
          garbage,
          layers: machine.layers,
          runtime: machine.runtime,
          uploadKeys,
          builds,
          reads: createSnapshotReads(reader, SNAPSHOT_JSON_SQL),
        }),
        fsckRoutes(fsck),
        sandboxRoutes({
          sandboxes,
          builds,
          sshCommand: ssh?.command,
          publicUrl: config.publicUrl,
          preview: config.preview,
        }),
      ],
      toolboxGuests: toolboxGuests(sandboxes),
      toolbox: [
        toolboxRoutes({
          toolbox: sandboxes.toolbox,
          terminals: sandboxes.terminals,
          interpreters: sandboxes.interpreters,
          sessions: sandboxes.sessions,
          version: serverVersion,
          spoolDirectory: spoolDirectory(config),
        }),
      ],
    },
    s3: { keys: uploadKeys, contexts, rateLimiter, publicUrl: config.publicUrl },
  });
}

async function listen(app: FastifyInstance, config: Config, tls: Tls | undefined): Promise<string> {
  const { server } = app;
  if (server instanceof TlsServer) tls?.follow((identity) => server.setSecureContext(identity));
  try {
    await app.listen(parseListen(config.listen));
  } catch (cause) {
    throw new DarkroomError('unavailable', `Cannot listen on ${config.listen}: ${messageOf(cause)}`, {
      hint: 'Choose another address with --listen HOST:PORT; port 0 takes a free one.',
      cause,
    });
  }
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no TCP address');
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `${tls === undefined ? 'http' : 'https'}://${host}:${address.port}`;
}
