import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Permission } from '@darkroom/contract';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { createAuditWriter } from '../audit/audit-writer.ts';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import { createLocalContextStore } from '../builds/contexts/local-context-store.ts';
import type { Garbage } from '../garbage/garbage.ts';
import { buildApp, closeApp } from '../http/app.ts';
import { apiRoutes } from '../http/daytona/routes.ts';
import { sandboxRoutes } from '../http/daytona/sandbox/index.ts';
import { SNAPSHOT_JSON_SQL } from '../http/daytona/snapshot-json.ts';
import { toolboxGuests } from '../http/daytona/toolbox/guests.ts';
import { toolboxRoutes } from '../http/daytona/toolbox/index.ts';
import { createPreviewFront } from '../http/preview/index.ts';
import { RateLimiter } from '../http/rate-limit.ts';
import { createLayerStore } from '../images/layer-store.ts';
import { createImagePuller } from '../images/pull.ts';
import { createUnpacker } from '../images/unpack/unpacker.ts';
import { insertSnapshot, type NewSnapshot } from '../lifecycle/move.ts';
import { createClockWatch } from '../platform/clock-watch.ts';
import { type Config, configSchema } from '../platform/config-schema.ts';
import { openListener } from '../platform/db/listener.ts';
import { openReader } from '../platform/db/reader.ts';
import { createEventBus } from '../platform/events.ts';
import { openInstance } from '../platform/instance.ts';
import { createJobQueue } from '../platform/job-queue.ts';
import type { JobQueue } from '../platform/jobs.ts';
import { openSecretBox } from '../platform/secrets.ts';
import { openLocalCa } from '../platform/tls/local-ca.ts';
import { instanceTag } from '../runtime/instance-tag.ts';
import { detachPool, ensurePool } from '../runtime/pool.ts';
import { prepareCgroups } from '../runtime/prepare-cgroups.ts';
import type { SandboxRuntime } from '../runtime/types.ts';
import { createSandboxes, type Sandboxes } from '../sandboxes/index.ts';
import { createLayerKeeper, type LayerKeeper } from '../snapshots/layer-keeper.ts';
import { createLayerSweeper } from '../snapshots/layer-sweeper.ts';
import { createSnapshotReads } from '../snapshots/read.ts';
import { openSshGateway, type SshGateway } from '../ssh/gateway.ts';
import { createClosers } from '../start/closers.ts';
import { startBuilds } from '../start/start-builds.ts';
import { startGarbage } from '../start/start-garbage.ts';
import { startSnapshots } from '../start/start-snapshots.ts';
import { createKeyVerifier } from '../tenancy/key-verifier.ts';
import { createUploadKeys } from '../tenancy/upload-credentials.ts';
import { addKey } from './add-key.ts';
import type { Layer } from './layers.ts';
import { outerMountNamespace } from './outer-mount-namespace.ts';
import { addOrganization, newSnapshot } from './rows.ts';
import { startTestDatabase, type TestDatabase } from './test-database.ts';
import { createTestRuntime, TEST_ID_BASE, TEST_ID_COUNT } from './test-runtime.ts';

const LIMIT = 1_000_000;

/** A machine with one server on it: database, layers, containers and HTTP, all real, in a state directory of its own. */
export interface TestServer {
  url: string;
  stateDir: string;
  db: TestDatabase['db'];
  layers: LayerKeeper;
  /** Uploads for builds. */
  contexts: ContextStore;
  runtime: SandboxRuntime;
  sandboxes: Sandboxes;
  garbage: Garbage;
  ssh: SshGateway;
  spoolDirectory: string;
  addKey(organizationId: string, permissions?: readonly Permission[]): Promise<string>;
  addOrganization(): Promise<string>;
  /** An active snapshot of one layer, which is made when its name comes for the first time. */
  addSnapshot(organizationId: string, layer: Layer, values?: Partial<NewSnapshot>): Promise<string>;
  /** As a restart of the server: containers go on, everything else is made again. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

interface Parts {
  app: FastifyInstance;
  runtime: SandboxRuntime;
  sandboxes: Sandboxes;
  garbage: Garbage;
  ssh: SshGateway;
  close(): Promise<void>;
}

export interface TestServerOptions {
  /** Serves https, with a CA of its own in the state directory. */
  tls?: boolean;
  preview?: Partial<Config['preview']>;
  /** Name servers of sandboxes; the host's without it. */
  dns?: readonly string[];
  /** The path of a runsc; without it there is no gVisor. */
  gvisor?: string;
  /** Of builds and pulls. */
  config?: { builds?: DeepPartial<Config['builds']>; registries?: Partial<Config['registries']> };
}

type DeepPartial<T> = { [K in keyof T]?: T[K] extends object ? DeepPartial<T[K]> : T[K] };

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const stateDir = await mkdtemp(join(tmpdir(), 'darkroom-test-'));
  // The sandboxes' root walks through it to its mounts.
  await chmod(stateDir, 0o711);
  const runDir = join('/run', `darkroom-test-${instanceTag(stateDir)}`);
  const database = await startTestDatabase();
  const log = pino({ level: process.env.DARKROOM_TEST_LOG ?? 'silent' });
  const pool = await ensurePool({ stateDir, maxBytes: 2 * 1024 ** 3 });
  const store = await createLayerStore(join(pool.root, 'layers'), { graceMs: 0 });
  const layers = createLayerKeeper(store);
  const contexts = await createLocalContextStore(join(pool.root, 'contexts'));
  const config = configSchema.parse({ stateDir, ...options.config });
  const spoolDirectory = join(stateDir, 'spool');
  const cgroups = await prepareCgroups({
    tag: instanceTag(stateDir),
    hostMountNamespace: await outerMountNamespace(),
  });
  const runnerId = 'test-runner';

  const names = { dns: ['localhost', '*.preview.localhost'], ip: ['127.0.0.1'] };
  const tls = options.tls === true ? await (await openLocalCa(stateDir)).identityFor(names) : undefined;

  async function open(): Promise<Parts> {
    const { db } = database;
    const place = { stateDir, runDir, poolRoot: pool.root };
    const runtime = await createTestRuntime({ ...place, dns: options.dns, gvisor: options.gvisor, cgroups, log });
    await runtime.open();
    const clock = createClockWatch(db, log);
    const instance = await openInstance({ db, runnerId, clock, log });
    const instanceId = instance.id;
    const listener = await openListener(database.connection, log);
    const jobs: JobQueue = createJobQueue({ db, listener, instance, clock, log });
    await jobs.start();
    const events = await createEventBus(listener);
    const secrets = await openSecretBox(stateDir);
    const closers = createClosers(log);
    const audit = createAuditWriter({ db, log });
    closers.add('audit log', () => audit.close());
    const unpacker = createUnpacker({ idBase: TEST_ID_BASE, idCount: TEST_ID_COUNT });
    closers.add('unpacker', () => unpacker.close());
    const puller = createImagePuller({ layers, unpacker, registries: config.registries, log });
    closers.add('puller', () => puller.close());
    const sweeper = createLayerSweeper({ db, layers, runnerId, graceSeconds: config.gc.graceMinutes * 60, log });
    closers.add('layer sweeper', () => sweeper.close());
    const builds = await startBuilds(
      { config, log, closers, db, events, jobs, secrets, instance },
      { machine: { layers, puller, runtime }, contexts, poolRoot: pool.root, layerSweeper: sweeper },
    );
    const sandboxes = createSandboxes({
      db,
      clock,
      runtime,
      layers,
      jobs,
      secrets,
      builds,
      log,
      settings: {
        instanceId,
        runnerId,
        defaultSnapshot: 'default',
        pidsLimit: 256,
        diskLimits: true,
        spoolDirectory,
        maxOutputBytes: 64 * 1024 * 1024,
        maxExecSeconds: 60,
        graceSeconds: config.gc.graceMinutes * 60,
      },
    });
    await sandboxes.open();
    closers.add('sandboxes', () => sandboxes.close());
    const ground = { config, log, closers, db, clock, jobs, secrets, instance };
    await startSnapshots(ground, { layers, puller }, { builds, sandboxes, sweeper });
    const garbage = startGarbage(ground, { store, layers, sweeper, contexts, builds, sandboxes });
    const ssh = await openSshGateway({
      access: sandboxes.ssh,
      stateDir,
      listen: { host: '127.0.0.1', port: 0 },
      publicAddress: undefined,
      maxConnections: 50,
      idleMs: 600_000,
      maxFailedLogins: 10,
      log,
    });
    const reader = openReader(database.connection, { maxConnections: 2 });
    const keys = createKeyVerifier({ db, onError: (error) => log.error(error) });
    const limits = { anonymous: LIMIT, authenticated: LIMIT, 'failed-auth': LIMIT };
    const rateLimiter = new RateLimiter({ ...limits, 'sandbox-create': LIMIT, 'sandbox-lifecycle': LIMIT });
    const metrics = { observeRequest() {}, expose: async () => ({ contentType: 'text/plain', body: '' }) };
    const preview = { ...configSchema.parse({}).preview, ...options.preview };
    const app = await buildApp({
      log,
      version: '0.0.0-test',
      tls,
      metrics,
      previews: createPreviewFront({
        previews: sandboxes.previews,
        keys,
        rateLimiter,
        settings: preview,
        publicUrl: undefined,
        protocol: tls === undefined ? 'http' : 'https',
        metrics,
        log,
      }),
      readiness: [],
      daytona: {
        audit,
        auth: {
          keys,
          rateLimiter,
        },
        api: [
          ...apiRoutes({
            config,
            version: '0.0.0-test',
            readiness: [],
            db,
            events,
            webhooks: { wake() {} },
            jobs,
            rateLimiter,
            keys,
            secrets,
            garbage,
            layers,
            runtime,
            uploadKeys: createUploadKeys(secrets),
            builds,
            reads: createSnapshotReads(reader, SNAPSHOT_JSON_SQL),
          }),
          sandboxRoutes({ sandboxes, builds, sshCommand: ssh.command, publicUrl: undefined, preview }),
        ],
        toolboxGuests: toolboxGuests(sandboxes),
        toolbox: [
          toolboxRoutes({
            toolbox: sandboxes.toolbox,
            terminals: sandboxes.terminals,
            interpreters: sandboxes.interpreters,
            sessions: sandboxes.sessions,
            version: '0.0.0-test',
            spoolDirectory,
          }),
        ],
      },
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    return {
      app,
      runtime,
      sandboxes,
      garbage,
      ssh,
      async close() {
        await closeApp(app, { graceMs: 1_000 });
        await ssh.close();
        await jobs.stop({ graceMs: 5_000 });
        await closers.closeAll();
        await keys.close();
        await reader.close();
        await events.close();
        await instance.close();
        await listener.close();
        await runtime.close();
      },
    };
  }

  async function clean(): Promise<void> {
    await database.stop();
    await cgroups.removeParent();
    await store.close();
    await detachPool(stateDir);
    await rm(stateDir, { recursive: true, force: true });
    await rm(runDir, { recursive: true, force: true });
  }

  let parts = await open().catch(async (error: unknown) => {
    await clean();
    throw error;
  });
  return {
    get url() {
      const { listeningOrigin } = parts.app;
      return tls === undefined ? listeningOrigin : listeningOrigin.replace(/^http:/, 'https:');
    },
    stateDir,
    get runtime() {
      return parts.runtime;
    },
    get sandboxes() {
      return parts.sandboxes;
    },
    get garbage() {
      return parts.garbage;
    },
    get ssh() {
      return parts.ssh;
    },
    db: database.db,
    layers,
    contexts,
    spoolDirectory,
    addOrganization: () => addOrganization(database.db),
    addKey: (organizationId, permissions) => addKey(database.db, organizationId, permissions && { permissions }),
    async addSnapshot(organizationId, layer, values = {}) {
      const diffId = `sha256:${Buffer.from(layer.name).toString('hex').padEnd(64, '0').slice(0, 64)}`;
      const fill = async (directory: string) => {
        await layer.fill(directory);
        return { sizeBytes: 1 };
      };
      await layers.add(diffId, fill, AbortSignal.timeout(120_000));
      const image = { env: ['FROM_IMAGE=yes'], entrypoint: [], cmd: ['sh'], workingDir: '', user: '', labels: {} };
      const row = await insertSnapshot(
        database.db,
        newSnapshot(organizationId, {
          name: `snapshot-${randomBytes(4).toString('hex')}`,
          state: 'active',
          layers: [diffId],
          image: JSON.stringify(image),
          size_bytes: 1,
          ...values,
        }),
        { actor: 'test' },
      );
      return row.name;
    },
    async restart() {
      await parts.close();
      parts = await open();
    },
    async stop() {
      for (const { id } of await parts.runtime.list()) await parts.runtime.remove(id);
      await parts.close();
      await clean();
    },
  };
}

export { TEST_ID_BASE };
