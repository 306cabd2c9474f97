import { persistently } from '../platform/db/persistently.ts';

/** Within the shortest deadline of a state: after that the deadline says what became of it. */
const SETTLE_MS = 45_000;

/**
 * Writes down how something ended that this process worked on: also when the database is away for a moment, as nobody else would. A
 * connection may break after the change was made and before that was told: then the row is found as it should be.
 */
export function settle<Row extends { state: string }>(
  to: Row['state'],
  move: () => Promise<Row | undefined>,
  read: () => Promise<Row | undefined>,
): Promise<Row | undefined> {
  let tries = 0;
  return persistently(async () => {
    tries++;
    const moved = await move();
    if (moved !== undefined || tries === 1) return moved;
    const row = await read();
    return row?.state === to ? row : undefined;
  }, AbortSignal.timeout(SETTLE_MS));
}
