import { Kysely, PostgresDialect } from 'kysely';
import { Pool, types } from 'pg';
import type { BaseLogger } from 'pino';
import { messageOf } from '../errors.ts';
import { CONNECT_TIMEOUT_MS, type DatabaseConnection } from './connection.ts';
import type { Database } from './schema.ts';

/** No statement of the server works longer; a longer one waits for a lock that nobody gives back. */
const STATEMENT_TIMEOUT_MS = 30_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000;
const IDLE_TIMEOUT_MS = 60_000;

const NUMBERS: ReadonlySet<number> = new Set([types.builtins.INT8, types.builtins.NUMERIC]);

/** int8 and numeric as numbers: sizes and counts here stay far below 2^53. */
export const numberTypes: { getTypeParser: typeof types.getTypeParser } = {
  getTypeParser: (id: number, format?: 'text' | 'binary') =>
    NUMBERS.has(id) && format !== 'binary' ? Number : types.getTypeParser(id, format as 'text'),
};

/** A pool of connections behind Kysely. Connections that break are replaced; `destroy()` closes all. */
export function openDatabase(
  connection: DatabaseConnection,
  options: { maxConnections: number; log?: Pick<BaseLogger, 'warn'> },
): Kysely<Database> {
  const pool = new Pool({
    ...connection,
    max: options.maxConnections,
    application_name: 'darkroom',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    // The server's own limit may be out of reach (a network that drops packets); then this one ends the wait.
    query_timeout: STATEMENT_TIMEOUT_MS + 5_000,
    keepAlive: true,
    types: numberTypes,
  });
  // An idle connection that breaks is dropped by the pool; without a listener it would end the process.
  pool.on('error', (error) => options.log?.warn({ err: error }, `a database connection broke: ${messageOf(error)}`));
  // While a connection is lent out the pool does not listen to it; its query fails by itself, this would end the process.
  pool.on('connect', (client) => client.on('error', () => {}));
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}
