import { mkdir } from 'node:fs/promises';
import type { Kysely } from 'kysely';
import { settleRestoredEvents } from '../lifecycle/events/settle-restored.ts';
import { type ClockWatch, createClockWatch } from '../platform/clock-watch.ts';
import type { Config } from '../platform/config-schema.ts';
import type { DatabaseConnection } from '../platform/db/connection.ts';
import { openDatabase } from '../platform/db/database.ts';
import { startEmbeddedPostgres } from '../platform/db/embedded-postgres.ts';
import { type Listener, openListener } from '../platform/db/listener.ts';
import { openReader, type Reader } from '../platform/db/reader.ts';
import type { Database } from '../platform/db/schema.ts';
import { createEventBus, type EventBus } from '../platform/events.ts';
import { type Instance, openInstance, readRunnerId } from '../platform/instance.ts';
import { createJobQueue } from '../platform/job-queue.ts';
import type { JobQueue } from '../platform/jobs.ts';
import type { Log } from '../platform/log.ts';
import { openSecretBox, type SecretBox } from '../platform/secrets.ts';
import type { Closers } from './closers.ts';
import type { Ground } from './ground.ts';
import { migrateDatabaseOfPool } from './pool-database.ts';

export interface Platform {
  db: Kysely<Database>;
  reader: Reader;
  events: EventBus;
  jobs: JobQueue;
  instance: Instance;
  clock: ClockWatch;
  secrets: SecretBox;
}

/** Jobs that run when the server stops get this long to notice their signal. */
export const JOB_GRACE_MS = 10_000;

/** The ground floor: database, events, jobs, keys. Raises `conflict` where the database is not the one of the pool. */
export async function startPlatform(
  { config, log, closers }: Pick<Ground, 'config' | 'log' | 'closers'>,
  poolRoot: string,
): Promise<Platform> {
  await mkdir(config.stateDir, { recursive: true });
  const secrets = await openSecretBox(config.stateDir);
  const connection = await connectionOf(config, log, closers);
  const { maxConnections } = config.database;

  const db = openDatabase(connection, { maxConnections, log });
  closers.add('database connections', () => db.destroy());
  await migrateDatabaseOfPool(db, poolRoot);
  if (await settleRestoredEvents(db))
    log.info({}, 'the database was restored from a dump; its events keep their order');
  const reader = openReader(connection, { maxConnections, log });
  closers.add('reading connections', () => reader.close());
  const listener: Listener = await openListener(connection, log);
  closers.add('listener', () => listener.close());
  const events = await createEventBus(listener);
  closers.add('events', () => events.close());

  const clock = createClockWatch(db, log);
  const instance = await openInstance({ db, runnerId: await readRunnerId(config.stateDir), clock, log });
  closers.add('instance', () => instance.close());
  const jobs = createJobQueue({ db, listener, instance, clock, log });
  await jobs.start();
  closers.add('jobs', () => jobs.stop({ graceMs: JOB_GRACE_MS }));
  return { db, reader, events, jobs, instance, clock, secrets };
}

async function connectionOf(config: Config, log: Log, closers: Closers): Promise<DatabaseConnection> {
  if (config.database.url !== undefined) return { connectionString: config.database.url };
  const postgres = await startEmbeddedPostgres({ stateDir: config.stateDir, log });
  closers.add('embedded PostgreSQL', () => postgres.stop());
  return postgres.connection;
}
