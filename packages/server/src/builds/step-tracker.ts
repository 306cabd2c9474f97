import type { Kysely } from 'kysely';
import { NOT_DURABLE } from '../platform/db/not-durable.ts';
import type { Database } from '../platform/db/schema.ts';
import { messageOf } from '../platform/errors.ts';
import type { StepRow } from './steps.ts';
import type { BuildObserver, CacheUse, StepDescription } from './types.ts';

/** Steps change faster than anybody looks: what changed is written together. */
const WRITE_AFTER_MS = 200;

/** The steps of a running build: in memory for those who watch, and a little later in the database. */
export interface StepTracker extends Pick<BuildObserver, 'planned' | 'started' | 'cache' | 'finished' | 'failed'> {
  readonly steps: readonly StepRow[];
  /** Called after each change, with the step. Answers the way to stop. */
  subscribe(listener: (step: StepRow) => void): () => void;
  /** Writes what was not written yet. Never raises: rows of steps are to look at, and a build does not fail for them. */
  flush(): Promise<void>;
}

export function createStepTracker(options: {
  db: Kysely<Database>;
  buildId: string;
  log: { warn(details: object, message: string): void };
}): StepTracker {
  const { db, buildId, log } = options;
  const steps: StepRow[] = [];
  const byNumber = new Map<number, StepRow>();
  /** Numbers of steps. */
  const dirty = new Set<number>();
  const listeners = new Set<(step: StepRow) => void>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();

  function change(number: number, values: Partial<StepRow>): void {
    const step = byNumber.get(number);
    if (step === undefined) return;
    Object.assign(step, values);
    note(step);
  }

  function note(step: StepRow): void {
    dirty.add(step.number);
    timer ??= setTimeout(() => void flush(), WRITE_AFTER_MS);
    for (const listener of listeners) listener(step);
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    writing = writing.then(write);
    return writing;
  }

  async function write(): Promise<void> {
    const rows = [...dirty].flatMap((number) => byNumber.get(number) ?? []);
    dirty.clear();
    if (rows.length === 0) return;
    try {
      await upsertSteps(db, buildId, rows);
    } catch (error) {
      for (const { number } of rows) dirty.add(number);
      log.warn({ err: error, buildId }, `steps of a build could not be written: ${messageOf(error)}`);
    }
  }

  return {
    steps,
    planned(descriptions: readonly StepDescription[]) {
      // A build that is begun again is planned again.
      steps.length = 0;
      byNumber.clear();
      for (const { number, stage, line, text } of descriptions) {
        const step: StepRow = { number, stage, line, text, state: 'waiting', ...NOT_BEGUN };
        byNumber.set(number, step);
        steps.push(step);
        note(step);
      }
    },
    started: (number) => change(number, { state: 'running', started_at: new Date() }),
    cache: (number, use: CacheUse) =>
      change(number, { cache: use.kind, cache_why: use.kind === 'miss' ? use.why : null }),
    finished(number, { bytes }) {
      const isCached = byNumber.get(number)?.cache === 'hit';
      change(number, { state: isCached ? 'cached' : 'done', bytes, finished_at: new Date() });
    },
    failed: (number, exitCode) =>
      change(number, { state: 'failed', exit_code: exitCode ?? null, finished_at: new Date() }),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    flush,
  };
}

const NOT_BEGUN = {
  cache: null,
  cache_why: null,
  bytes: null,
  exit_code: null,
  started_at: null,
  finished_at: null,
};

/** One statement, whose commit does not wait for the disk: nobody was promised the rows of steps. */
async function upsertSteps(db: Kysely<Database>, buildId: string, rows: readonly StepRow[]): Promise<void> {
  await db
    .insertInto('build_steps')
    .values(rows.map((row) => ({ build_id: buildId, ...row })))
    .onConflict((conflict) =>
      conflict.columns(['build_id', 'number']).doUpdateSet((row) => ({
        stage: row.ref('excluded.stage'),
        line: row.ref('excluded.line'),
        text: row.ref('excluded.text'),
        state: row.ref('excluded.state'),
        cache: row.ref('excluded.cache'),
        cache_why: row.ref('excluded.cache_why'),
        bytes: row.ref('excluded.bytes'),
        exit_code: row.ref('excluded.exit_code'),
        started_at: row.ref('excluded.started_at'),
        finished_at: row.ref('excluded.finished_at'),
      })),
    )
    .returning(NOT_DURABLE)
    .execute();
}
