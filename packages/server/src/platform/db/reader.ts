import { Pool } from 'pg';
import type { BaseLogger } from 'pino';
import { messageOf } from '../errors.ts';
import { CONNECT_TIMEOUT_MS, type DatabaseConnection } from './connection.ts';

/** A statement with a name is parsed and planned once for each connection. */
export interface ReadStatement {
  name?: string;
  text: string;
}

/** Reads for the hottest routes: no query builder, and every value as the text that PostgreSQL sent. */
export interface Reader {
  query(statement: ReadStatement, values: readonly unknown[]): Promise<(string | null)[][]>;
  close(): Promise<void>;
}

const STATEMENT_TIMEOUT_MS = 30_000;
const IDLE_TIMEOUT_MS = 60_000;

const asText = { getTypeParser: () => (value: string) => value };

export function openReader(
  connection: DatabaseConnection,
  options: { maxConnections: number; log?: Pick<BaseLogger, 'warn'> },
): Reader {
  const pool = new Pool({
    ...connection,
    max: options.maxConnections,
    application_name: 'darkroom reader',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 5_000,
    keepAlive: true,
    types: asText,
  });
  pool.on('error', (error) => options.log?.warn({ err: error }, `a reading connection broke: ${messageOf(error)}`));
  return {
    async query(statement, values) {
      const { rows } = await pool.query<(string | null)[]>({ ...statement, values: [...values], rowMode: 'array' });
      return rows;
    },
    close: () => pool.end(),
  };
}
