import type { PostgresCursor, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import type { PoolClient } from 'pg';
import { errnoOf } from '../errors.ts';

/** Texts that come this often are worth a plan that is kept; what is built anew for each question never does. */
const NAMED_FROM = 3;
const MAX_NAMES = 300;
/** The tables changed under a kept plan, by a newer server's migration. */
const PLAN_IS_STALE = '0A000';

/** Which statements are prepared, under which names: the same for all connections of a pool. */
export interface StatementNames {
  nameOf(text: string): string | undefined;
  /** Every statement is planned anew, under a new name. */
  forgetAll(): void;
}

export function createStatementNames(): StatementNames {
  const seen = new Map<string, number>();
  const names = new Map<string, string>();
  let generation = 0;
  return {
    nameOf(text) {
      const known = names.get(text);
      if (known !== undefined) return known;
      const count = (seen.get(text) ?? 0) + 1;
      if (count < NAMED_FROM || names.size >= MAX_NAMES) {
        if (seen.size >= 10 * MAX_NAMES) seen.clear();
        seen.set(text, count);
        return undefined;
      }
      const name = `darkroom-${generation}-${names.size}`;
      names.set(text, name);
      seen.delete(text);
      return name;
    },
    forgetAll() {
      generation += 1;
      names.clear();
    },
  };
}

const COMMANDS = ['UPDATE', 'DELETE', 'INSERT', 'SELECT', 'MERGE', 'COMMIT', 'ROLLBACK'] as const;

/**
 * A lent connection on which statements that come again are prepared: PostgreSQL then parses and plans each once for a
 * connection, which for the statements of a sandbox's start is half of their time.
 */
export class PreparingClient implements PostgresPoolClient {
  readonly #client: PoolClient;
  readonly #names: StatementNames;

  constructor(client: PoolClient, names: StatementNames) {
    this.#client = client;
    this.#names = names;
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    statement: string | PostgresCursor<R>,
    parameters: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof statement !== 'string') throw new Error('results are not read by cursor here');
    return this.#run<R>(statement, parameters);
  }

  release(destroy?: boolean): void {
    this.#client.release(destroy);
  }

  async #run<R>(text: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    // Without parameters it is a BEGIN, a COMMIT, or DDL.
    const name = parameters.length === 0 ? undefined : this.#names.nameOf(text);
    try {
      const values = [...parameters];
      const { command, rowCount, rows } = await this.#client.query<R & Record<string, unknown>>(
        name === undefined ? { text, values } : { name, text, values },
      );
      return { command: COMMANDS.find((known) => known === command) ?? 'SELECT', rowCount: rowCount ?? 0, rows };
    } catch (error) {
      if (errnoOf(error) === PLAN_IS_STALE) this.#names.forgetAll();
      throw error;
    }
  }
}
