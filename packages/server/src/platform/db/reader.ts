import type { BaseLogger } from 'pino';
import type { DatabaseConnection } from './connection.ts';
import { openPool } from './pool.ts';

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

const asText = { getTypeParser: () => (value: string) => value };

export function openReader(
  connection: DatabaseConnection,
  options: { maxConnections: number; log?: Pick<BaseLogger, 'warn'> },
): Reader {
  const { pool, end } = openPool(connection, { ...options, application_name: 'darkroom reader', types: asText });
  return {
    async query(statement, values) {
      const { rows } = await pool.query<(string | null)[]>({ ...statement, values: [...values], rowMode: 'array' });
      return rows;
    },
    close: end,
  };
}
