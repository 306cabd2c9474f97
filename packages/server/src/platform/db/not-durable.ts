import { sql } from 'kysely';

/** In the `returning` of a statement of its own: its commit does not wait for the disk, and may be lost with the machine's power. */
export const NOT_DURABLE = sql<string>`set_config('synchronous_commit', 'off', true)`.as('setting');
