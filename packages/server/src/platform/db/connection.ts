import type { ClientConfig } from 'pg';

/** Where the database is: an external one by URL, the embedded one by its socket directory. */
export type DatabaseConnection = Pick<
  ClientConfig,
  'connectionString' | 'host' | 'port' | 'user' | 'password' | 'database'
>;

/** For every connection: opening one, and finding out that the other side is gone, takes no longer than this. */
export const CONNECT_TIMEOUT_MS = 10_000;
