import { type Kysely, sql } from 'kysely';
import type { BaseLogger } from 'pino';
import type { Database } from './db/schema.ts';

/** Puts right what was counted by the clock before it jumped by `ms` (negative: back). May be called again for the same jump. */
export type AfterJump = (ms: number) => Promise<void>;

/**
 * Deadlines, leases and waiting times are rows with the database's time. This notices when that clock was set, or the machine
 * slept: the time between two looks is not the time that passed.
 */
export interface ClockWatch {
  /**
   * Before anything is decided by the clock: after a jump it resolves when everything was put right. Raises when the database
   * cannot be reached, or something could not be put right; then nothing may be decided, and the next call tries again.
   */
  settle(): Promise<void>;
  onJump(putRight: AfterJump): void;
}

interface Look {
  /** Of the database, in milliseconds. */
  clock: number;
  /** Steady time before the question and after the answer. */
  before: number;
  after: number;
}

/** Leases, the shortest times by the clock, are five times as long. */
const LEAST_JUMP_MS = 3_000;
/** Clocks are brought to the right time by going a little faster or slower; at most by this part. */
const SLEW = 0.001;

export function createClockWatch(
  db: Kysely<Database>,
  log: Pick<BaseLogger, 'warn'>,
  now: () => number = () => performance.now(),
): ClockWatch {
  const putRight: AfterJump[] = [];
  let last: Look | undefined;
  let looking: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | undefined;

  async function look(): Promise<void> {
    const before = now();
    const { rows } = await sql<{ clock: number }>`
      select extract(epoch from clock_timestamp())::float8 * 1000 as clock`.execute(db);
    const found: Look = { clock: rows[0]?.clock ?? 0, before, after: now() };
    const jump = last === undefined ? 0 : jumpBetween(last, found);
    if (jump !== 0) {
      log.warn({ ms: jump }, 'the clock was set, or the machine slept: times that were counted by it are put right');
      await Promise.all(putRight.map((each) => each(jump)));
    }
    last = found;
  }

  return {
    settle() {
      // Who asks now needs a look from now on; all that ask while one is under way share the next.
      waiting ??= looking.then(() => {
        waiting = undefined;
        const mine = look();
        looking = mine.catch(() => {});
        return mine;
      });
      return waiting;
    },
    onJump: (each) => void putRight.push(each),
  };
}

/** 0 when the difference may come from how long the answers took. */
function jumpBetween(last: Look, found: Look): number {
  const went = found.clock - last.clock;
  const least = found.before - last.after;
  const most = found.after - last.before;
  const tolerance = LEAST_JUMP_MS + most * SLEW;
  if (went > most + tolerance) return Math.round(went - most);
  if (went < least - tolerance) return Math.round(went - least);
  return 0;
}
