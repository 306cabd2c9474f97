import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import { Client } from 'pg';
import { pino } from 'pino';
import type { DatabaseConnection } from '../platform/db/connection.ts';
import { openDatabase } from '../platform/db/database.ts';
import { startEmbeddedPostgres } from '../platform/db/embedded-postgres.ts';
import { migrate } from '../platform/db/migrate.ts';
import type { Database } from '../platform/db/schema.ts';

export interface TestDatabase {
  db: Kysely<Database>;
  /** For what opens its own connections: the event bus, the job queue. */
  connection: DatabaseConnection;
  /** Empties every table. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A migrated database for one test file: an embedded PostgreSQL in a temporary directory, or a fresh database on the
 * server that `DARKROOM_TEST_DATABASE_URL` names. Start it in `beforeAll`, stop it in `afterAll`.
 */
export async function startTestDatabase(options: { maxConnections?: number } = {}): Promise<TestDatabase> {
  const externalUrl = process.env.DARKROOM_TEST_DATABASE_URL;
  const server = externalUrl === undefined ? await embedded() : await external(externalUrl);
  const db = openDatabase(server.connection, { maxConnections: options.maxConnections ?? 5 });
  const stop = async () => {
    await db.destroy();
    await server.stop();
  };
  try {
    await migrate(db);
  } catch (error) {
    await stop();
    throw error;
  }
  return { db, connection: server.connection, reset: () => empty(db), stop };
}

interface Server {
  connection: DatabaseConnection;
  stop(): Promise<void>;
}

async function embedded(): Promise<Server> {
  const stateDir = await mkdtemp(join(tmpdir(), 'darkroom-test-db-'));
  try {
    const server = await startEmbeddedPostgres({ stateDir, log: pino({ level: 'silent' }) });
    return {
      connection: server.connection,
      async stop() {
        await server.stop();
        await rm(stateDir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(stateDir, { recursive: true, force: true });
    throw error;
  }
}

async function external(url: string): Promise<Server> {
  const name = `darkroom_test_${randomBytes(6).toString('hex')}`;
  const asAdmin = async (statement: string) => {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  };
  await asAdmin(`create database ${name}`);
  const connectionString = new URL(url);
  connectionString.pathname = `/${name}`;
  return {
    connection: { connectionString: connectionString.href },
    stop: () => asAdmin(`drop database if exists ${name} with (force)`),
  };
}

async function empty(db: Kysely<Database>): Promise<void> {
  const { rows } = await sql<{ tablename: string }>`
    select tablename from pg_tables where schemaname = 'public' and tablename not like 'kysely%'`.execute(db);
  const tables = sql.join(rows.map((row) => sql.table(row.tablename)));
  await sql`truncate ${tables} restart identity cascade`.execute(db);
}
