import { Kysely, PostgresDialect } from 'kysely';
import { types } from 'pg';
import type { BaseLogger } from 'pino';
import type { DatabaseConnection } from './connection.ts';
import { openPool } from './pool.ts';
import { createStatementNames, PreparingClient } from './prepared-statements.ts';
import type { Database } from './schema.ts';

const IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000;

const NUMBERS: ReadonlySet<number> = new Set([types.builtins.INT8, types.builtins.NUMERIC]);

/** int8 and numeric as numbers: sizes and counts here stay far below 2^53. */
export const numberTypes: { getTypeParser: typeof types.getTypeParser } = {
  getTypeParser: (id: number, format?: 'text' | 'binary') =>
    NUMBERS.has(id) && format !== 'binary' ? Number : types.getTypeParser(id, format as 'text'),
};

/** A pool of connections behind Kysely. Connections that break are replaced; `destroy()` closes all and waits for that. */
export function openDatabase(
  connection: DatabaseConnection,
  options: { maxConnections: number; log?: Pick<BaseLogger, 'warn'> },
): Kysely<Database> {
  const { pool, end } = openPool(connection, {
    ...options,
    application_name: 'darkroom',
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    types: numberTypes,
  });
  const names = createStatementNames();
  const kept = { options: pool.options, connect: async () => new PreparingClient(await pool.connect(), names), end };
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool: kept }) });
}
