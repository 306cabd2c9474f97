import { setTimeout as delay } from 'node:timers/promises';
import { type Client, Pool, type PoolConfig } from 'pg';
import type { BaseLogger } from 'pino';
import { messageOf } from '../errors.ts';
import { CONNECT_TIMEOUT_MS, type DatabaseConnection } from './connection.ts';

/** No statement of the server works longer; a longer one waits for a lock that nobody gives back. */
const STATEMENT_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 60_000;
/** The database answers a goodbye at once; one that cannot be reached must not hold up a stop. */
const GOODBYE_TIMEOUT_MS = 3_000;

export interface ConnectionPool {
  readonly pool: Pool;
  /** Resolves when the database has closed every connection: it may be stopped from then on. */
  end(): Promise<void>;
}

export interface PoolOptions extends Pick<PoolConfig, 'application_name' | 'idle_in_transaction_session_timeout'> {
  maxConnections: number;
  types: NonNullable<PoolConfig['types']>;
  log?: Pick<BaseLogger, 'warn'> | undefined;
}

/** Connections that break are replaced. */
export function openPool(
  connection: DatabaseConnection,
  { maxConnections, log, ...options }: PoolOptions,
): ConnectionPool {
  const open = new Set<Client>();
  let ending = false;
  const pool = new Pool({
    ...connection,
    ...options,
    max: maxConnections,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    // The server's own limit may be out of reach (a network that drops packets); then this one ends the wait.
    query_timeout: STATEMENT_TIMEOUT_MS + 5_000,
    keepAlive: true,
  });
  // An idle connection that breaks is dropped by the pool; without a listener it would end the process.
  pool.on('error', (error) => {
    if (!ending) log?.warn({ err: error }, `a database connection broke: ${messageOf(error)}`);
  });
  pool.on('connect', (client) => {
    open.add(client);
    client.once('end', () => open.delete(client));
    // While a connection is lent out the pool does not listen to it; its query fails by itself, this would end the process.
    client.on('error', () => {});
  });
  return {
    pool,
    async end() {
      ending = true;
      await pool.end();
      // The pool forgets its connections before they are closed. A database that is stopped meanwhile would complain of each.
      const closed = [...open].map((client) => new Promise<void>((resolve) => client.once('end', resolve)));
      await Promise.race([Promise.all(closed), delay(GOODBYE_TIMEOUT_MS, undefined, { ref: false })]);
    },
  };
}
