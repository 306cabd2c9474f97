import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { type AuditWriter, createAuditWriter } from '../audit/audit-writer.ts';
import { boundedContextStore } from '../builds/contexts/bounded-context-store.ts';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import { createLocalContextStore } from '../builds/contexts/local-context-store.ts';
import type { Builds } from '../builds/index.ts';
import type { Garbage } from '../garbage/garbage.ts';
import { buildApp } from '../http/app.ts';
import { apiRoutes } from '../http/daytona/routes.ts';
import { SNAPSHOT_JSON_SQL } from '../http/daytona/snapshot-json.ts';
import { RateLimiter, type RateLimitName } from '../http/rate-limit.ts';
import { createLayerStore } from '../images/layer-store.ts';
import { createClockWatch } from '../platform/clock-watch.ts';
import { configSchema } from '../platform/config-schema.ts';
import { openListener } from '../platform/db/listener.ts';
import { openReader } from '../platform/db/reader.ts';
import type { DiskGuard } from '../platform/disk-guard.ts';
import { DarkroomError } from '../platform/errors.ts';
import { createEventBus, type EventBus } from '../platform/events.ts';
import { createJobQueue } from '../platform/job-queue.ts';
import type { JobQueue } from '../platform/jobs.ts';
import { openSecretBox, type SecretBox } from '../platform/secrets.ts';
import { gvisorCheck } from '../runtime/container/gvisor/gvisor-check.ts';
import { createLayerKeeper, type LayerKeeper } from '../snapshots/layer-keeper.ts';
import { createLayerSweeper } from '../snapshots/layer-sweeper.ts';
import { createSnapshotReads } from '../snapshots/read.ts';
import { createClosers } from '../start/closers.ts';
import { startBuilds } from '../start/start-builds.ts';
import { startGarbage } from '../start/start-garbage.ts';
import { createKeyVerifier } from '../tenancy/key-verifier.ts';
import { createUploadKeys } from '../tenancy/upload-credentials.ts';
import { startWebhooks } from '../webhooks/webhooks.ts';
import { addKey, type KeyOptions } from './add-key.ts';
import { addOrganization } from './rows.ts';
import { startTestDatabase, type TestDatabase } from './test-database.ts';

/** The HTTP floor for snapshots and accounts on a real database, queue and layer store. No worker runs, unless a test starts it. */
export interface TestApi {
  app: FastifyInstance;
  db: TestDatabase['db'];
  jobs: JobQueue;
  events: EventBus;
  audit: AuditWriter;
  layers: LayerKeeper;
  secrets: SecretBox;
  contexts: ContextStore;
  /** Whose engine can read Dockerfiles, and has nothing to run steps with. Takes jobs when a test opens it. */
  builds: Builds;
  garbage: Garbage;
  stateDir: string;
  instanceId: string;
  addOrganization(): Promise<string>;
  addKey(organizationId: string, options?: KeyOptions): Promise<string>;
  /** One request; `key` null sends none. */
  ask(method: Method, url: string, options: AskOptions): Promise<Answer>;
  stop(): Promise<void>;
}

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export interface AskOptions {
  key: string | null;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Record<string, unknown>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what the wire has, and say themselves what they expect
  body: any;
}

const MANY = 1_000_000;
const withoutGvisor = gvisorCheck({ gvisor: 'off', idBase: 0, idCount: 0 }, { info: () => {} });

export async function startTestApi(
  limits: Partial<Record<RateLimitName, number>> = {},
  disk?: Pick<DiskGuard, 'assertRoom'>,
): Promise<TestApi> {
  const stateDir = await mkdtemp(join(tmpdir(), 'darkroom-api-'));
  const database = await startTestDatabase();
  const { db, connection } = database;
  const log = pino({ level: process.env.DARKROOM_TEST_LOG ?? 'silent' });
  const instanceId = randomUUID();
  const runnerId = 'test';
  const listener = await openListener(connection, log);
  const jobs = createJobQueue({
    db,
    listener,
    instance: { id: instanceId, isSteady: () => true },
    clock: createClockWatch(db, log),
    log,
  });
  await jobs.start();
  const events = await createEventBus(listener);
  await db
    .insertInto('instances')
    .values({ id: instanceId, runner_id: runnerId, lease_expires_at: new Date(Date.now() + 3_600_000) })
    .execute();
  const store = await createLayerStore(join(stateDir, 'layers'), { graceMs: 0 });
  const layers = createLayerKeeper(store);
  const secrets = await openSecretBox(stateDir);
  const keys = createKeyVerifier({ db, onError: (error) => log.error(error) });
  const reader = openReader(connection, { maxConnections: 2 });
  // Receivers of webhooks in tests are on this machine.
  const config = configSchema.parse({ stateDir, webhooks: { allowInternal: true } });
  const contexts = boundedContextStore(await createLocalContextStore(join(stateDir, 'contexts')), {
    maxBytes: config.builds.maxContextBytes,
    maxTotalBytes: config.builds.maxContextBytesPerOrganization,
  });
  const closers = createClosers(log);
  const sweeper = createLayerSweeper({ db, layers, runnerId, graceSeconds: config.gc.graceMinutes * 60, log });
  closers.add('layer sweeper', () => sweeper.close());
  const nothing = async () => {
    throw new DarkroomError('unavailable', 'this server has no machine');
  };
  const builds = await startBuilds(
    { config, log, closers, db, events, jobs, secrets, instance: { id: instanceId, runnerId } },
    {
      machine: { layers, puller: { pull: nothing }, runtime: { steps: { run: nothing, openTree: nothing } } },
      contexts,
      poolRoot: stateDir,
      layerSweeper: sweeper,
    },
  );
  const garbageGround = { config, log, closers, db, instance: { runnerId } };
  const garbage = startGarbage(garbageGround, { store, layers, sweeper, contexts, builds });
  const audit = createAuditWriter({ db, log });
  const webhooks = startWebhooks({ db, events, secrets, settings: config.webhooks, log });
  const uploadKeys = createUploadKeys(secrets);
  const rateLimiter = new RateLimiter({
    anonymous: MANY,
    authenticated: MANY,
    'failed-auth': MANY,
    'sandbox-create': MANY,
    'sandbox-lifecycle': MANY,
    ...limits,
  });
  const app = await buildApp({
    log,
    version: '0.0.0-test',
    metrics: { observeRequest() {}, expose: async () => ({ contentType: 'text/plain', body: '' }) },
    readiness: [],
    daytona: {
      audit,
      ...(disk === undefined ? {} : { disk }),
      auth: {
        keys,
        rateLimiter,
      },
      api: apiRoutes({
        config,
        version: '0.0.0-test',
        readiness: [],
        db,
        events,
        webhooks,
        jobs,
        rateLimiter,
        keys,
        secrets,
        garbage,
        layers,
        runtime: { checkClass: async (sandboxClass) => (sandboxClass === 'gvisor' ? withoutGvisor() : undefined) },
        uploadKeys,
        builds,
        reads: createSnapshotReads(reader, SNAPSHOT_JSON_SQL),
      }),
      toolboxGuests: undefined,
      toolbox: [],
    },
    s3: { keys: uploadKeys, contexts, rateLimiter, publicUrl: undefined },
  });

  return {
    app,
    db,
    jobs,
    events,
    audit,
    layers,
    secrets,
    contexts,
    builds,
    garbage,
    stateDir,
    instanceId,
    addOrganization: () => addOrganization(db),
    addKey: (organizationId, options) => addKey(db, organizationId, options),
    async ask(method, url, { key, body, headers = {} }) {
      const answer = await app.inject({
        method,
        url,
        headers: {
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const isJson = String(answer.headers['content-type']).startsWith('application/json');
      return {
        status: answer.statusCode,
        headers: answer.headers,
        text: answer.body,
        body: isJson && answer.body !== '' ? JSON.parse(answer.body) : undefined,
      };
    },
    async stop() {
      await app.close();
      await audit.close();
      await webhooks.close();
      await jobs.stop({ graceMs: 5_000 });
      await builds.close();
      await closers.closeAll();
      await keys.close();
      await reader.close();
      await events.close();
      await listener.close();
      await database.stop();
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

/** The schema that Daytona publishes of a snapshot. */
export async function loadSnapshotSchema(): Promise<ValidateFunction> {
  const path = join(import.meta.dirname, '../../../../test/fixtures/snapshot-dto.schema.json');
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats.default(ajv);
  return ajv.compile(JSON.parse(await readFile(path, 'utf8')));
}
