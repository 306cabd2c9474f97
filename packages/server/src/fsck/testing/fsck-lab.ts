import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { createLocalContextStore } from '../../builds/contexts/local-context-store.ts';
import { createBuildLogs } from '../../builds/logs/build-logs.ts';
import { createLayerHealth, type LayerHealth } from '../../images/health/layer-health.ts';
import { createLayerStore, type OpenLayerStore } from '../../images/layer-store.ts';
import { parseReference } from '../../images/reference.ts';
import { createPullFixture, ID_BASE, pullOptions } from '../../images/testing/pull-fixture.ts';
import { type RegistryServer, startRegistryServer } from '../../images/testing/registry-server.ts';
import { makeImage, type TestLayer } from '../../images/testing/test-image.ts';
import type { ImagePuller, Layer } from '../../images/types.ts';
import { insertSandbox, insertSnapshot, type NewSandbox, type NewSnapshot } from '../../lifecycle/move.ts';
import { createClockWatch } from '../../platform/clock-watch.ts';
import { openListener } from '../../platform/db/listener.ts';
import { openInstance } from '../../platform/instance.ts';
import { createJobQueue } from '../../platform/job-queue.ts';
import { openSecretBox } from '../../platform/secrets.ts';
import type { ContainerStatus } from '../../runtime/types.ts';
import { createLayerKeeper, type LayerKeeper } from '../../snapshots/layer-keeper.ts';
import { createRefetch } from '../../start/fetch-layer-again.ts';
import { addOrganization, newSandbox, newSnapshot } from '../../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../../test-support/test-database.ts';
import { collectFindings } from '../run-fsck.ts';
import type { Depth, FsckReport, Scene } from '../types.ts';

type Found = Extract<FsckReport, { type: 'finding' }>;

/** All that fsck looks at, real but for containers: a database, a store with layers of a registry, uploads, logs, jobs. Needs root. */
export interface FsckLab {
  database: TestDatabase;
  db: TestDatabase['db'];
  registry: RegistryServer;
  stateDir: string;
  poolRoot: string;
  organizationId: string;
  /** What is said to run. */
  running: Set<string>;
  readonly scene: Omit<Scene, 'depth' | 'signal'>;
  readonly store: OpenLayerStore;
  readonly layers: LayerKeeper;
  find(depth?: Depth, more?: Partial<Scene>): Promise<Found[]>;
  repair(depth?: Depth, more?: Partial<Scene>): Promise<Found[]>;
  /** An active snapshot of an image that is pulled. */
  addPulled(name: string, layers: readonly TestLayer[], values?: Partial<NewSnapshot>): Promise<AddedSnapshot>;
  /** An active snapshot of these layers. */
  addSnapshot(name: string, layers: readonly Layer[], values?: Partial<NewSnapshot>): Promise<AddedSnapshot>;
  /** A stopped sandbox, with files. */
  addSandbox(layers: readonly string[], values?: Partial<NewSandbox>, state?: string): Promise<string>;
  /** Opens the store and what stands on it anew, as the next server does. */
  reopen(): Promise<void>;
  /** Makes everything of the last test go. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

export interface AddedSnapshot {
  id: string;
  layers: Layer[];
}

const RUNNER = 'here';

export async function startFsckLab(): Promise<FsckLab> {
  const log = pino({ level: process.env.DARKROOM_TEST_LOG ?? 'silent' });
  const database = await startTestDatabase();
  const { db } = database;
  const registry = await startRegistryServer();
  const fixture = await createPullFixture();
  const base = mkdtempSync(join(tmpdir(), 'darkroom-fsck-'));
  const listener = await openListener(database.connection, log);
  const clock = createClockWatch(db, log);
  const instance = await openInstance({ clock, db, runnerId: RUNNER, log });
  const jobs = createJobQueue({ db, listener, instance, clock, log });
  await jobs.start();
  const running = new Set<string>();

  let number = 0;
  let stateDir = '';
  let poolRoot = '';
  let organizationId = '';
  let parts: {
    store: OpenLayerStore;
    health: LayerHealth;
    layers: LayerKeeper;
    puller: ImagePuller;
    scene: FsckLab['scene'];
  };

  async function open() {
    const store = await createLayerStore(join(poolRoot, 'layers'), { graceMs: 0 });
    const secrets = await openSecretBox(stateDir);
    const refetch = createRefetch({ db, secrets, instance, log }, () => puller);
    const health = await createLayerHealth({ store, log, ...refetch });
    const layers = createLayerKeeper(health.watch(store));
    const puller = fixture.otherPuller({ layers });
    const logs = await createBuildLogs({ directory: join(stateDir, 'build-logs'), log });
    const contexts = await createLocalContextStore(join(poolRoot, 'contexts'));
    const statuses = (): ContainerStatus[] =>
      [...running].map((id) => ({ id, running: true, paused: false, pid: process.pid }));
    const scene: FsckLab['scene'] = {
      db,
      jobs,
      secrets,
      runnerId: RUNNER,
      stateDir,
      poolRoot,
      offline: false,
      openedWith: [],
      startedAt: new Date(Date.now() + 60_000),
      graceMs: -60_000,
      store,
      layers,
      health,
      fetchAgain: refetch.fetchAgain,
      contexts,
      logs,
      containers: {
        list: async () => statuses(),
        remove: async (id) => rmSync(join(poolRoot, 'sandboxes', id), { recursive: true, force: true }),
      },
      log,
    };
    return { store, health, layers, puller, scene };
  }

  async function begin() {
    number += 1;
    stateDir = join(base, String(number));
    poolRoot = join(stateDir, 'pool');
    for (const name of ['layers', 'sandboxes', 'tmp']) mkdirSync(join(poolRoot, name), { recursive: true });
    organizationId = await addOrganization(db);
    parts = await open();
  }

  async function close() {
    await parts.health.close();
    await parts.store.close();
  }

  await begin();
  const look = (repair: boolean, depth: Depth, more: Partial<Scene>) =>
    collectFindings({ ...parts.scene, depth, signal: AbortSignal.timeout(60_000), ...more }, { repair });

  const addSnapshot: FsckLab['addSnapshot'] = async (name, layers, values = {}) => {
    const row = await insertSnapshot(
      db,
      newSnapshot(organizationId, {
        name,
        state: 'active',
        image: '{}',
        runner_id: RUNNER,
        layers: layers.map(({ diffId }) => diffId),
        size_bytes: layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        ...values,
      }),
      { actor: 'test' },
    );
    return { id: row.id, layers: [...layers] };
  };

  return {
    database,
    db,
    registry,
    running,
    get stateDir() {
      return stateDir;
    },
    get poolRoot() {
      return poolRoot;
    },
    get organizationId() {
      return organizationId;
    },
    get scene() {
      return parts.scene;
    },
    get store() {
      return parts.store;
    },
    get layers() {
      return parts.layers;
    },
    find: (depth = 'files', more = {}) => look(false, depth, more),
    repair: (depth = 'files', more = {}) => look(true, depth, more),
    addSnapshot,
    async addPulled(name, files, values) {
      await registry.push(`${name}:1`, makeImage(files));
      const pulled = await parts.puller.pull(parseReference(`${registry.host}/${name}:1`), pullOptions());
      const all = await parts.store.list();
      const layers = pulled.layers
        .map((id) => all.find(({ diffId }) => diffId === id))
        .filter((each) => each !== undefined);
      return addSnapshot(name, layers, { ref: pulled.resolved, ...values });
    },
    async addSandbox(layers, values = {}, state = 'stopped') {
      const row = await insertSandbox(
        db,
        newSandbox(organizationId, { layers: [...layers], runner_id: RUNNER, ...values }),
        {
          actor: 'test',
        },
      );
      await db.updateTable('sandboxes').set({ deadline_at: null, owner_id: null }).where('id', '=', row.id).execute();
      // Not by a move: these are states of long ago.
      await db
        .updateTable('sandboxes')
        .set({ state: state === 'started' ? 'started' : 'stopped' })
        .where('id', '=', row.id)
        .execute();
      mkdirSync(join(poolRoot, 'sandboxes', row.id, 'upper'), { recursive: true });
      return row.id;
    },
    async reopen() {
      await close();
      parts = await open();
    },
    async reset() {
      await close();
      running.clear();
      await database.reset();
      await begin();
    },
    async stop() {
      await close();
      await jobs.stop({ graceMs: 1_000 });
      await instance.close();
      await listener.close();
      await fixture.close();
      await registry.close();
      await database.stop();
      rmSync(base, { recursive: true, force: true });
    },
  };
}

export { ID_BASE };
