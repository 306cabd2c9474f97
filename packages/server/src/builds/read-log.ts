import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import type { EventBus } from '../platform/events.ts';
import type { BuildLogs, LogLine } from './logs/build-log.ts';
import type { BuildRow } from './records.ts';
import type { RunningBuild } from './running-build.ts';

export interface ReadDeps {
  db: Kysely<Database>;
  logs: BuildLogs;
  events: Pick<EventBus, 'subscribe'>;
  running(buildId: string): RunningBuild | undefined;
}

export interface ReadLogOptions {
  from: number;
  follow: boolean;
  signal: AbortSignal;
}

/** For messages that got lost, and for what was ended without ever having been begun. */
const LOOK_EVERY_MS = 5_000;

/** Lines from an index on. Follows end when the build has ended, which whoever asks for it can see by then. */
export async function* readBuildLog(
  deps: ReadDeps,
  row: BuildRow,
  { from, follow, signal }: ReadLogOptions,
): AsyncGenerator<LogLine[]> {
  const mayGrow = row.outcome === null || deps.running(row.id) !== undefined;
  if (!follow || !mayGrow) return yield* deps.logs.read(row.id, { from, follow: false, signal });
  const stop = awaitEnd(deps, row);
  try {
    yield* deps.logs.read(row.id, { from, follow: true, signal });
  } finally {
    stop();
  }
}

/** Who works on a build ends its log; of one that was ended while nobody did, it is ended here. */
function awaitEnd({ db, logs, events, running }: ReadDeps, row: BuildRow): () => void {
  let isOver = false;
  async function look(): Promise<void> {
    if (running(row.id) !== undefined) return;
    const found = await db.selectFrom('builds').select('outcome').where('id', '=', row.id).executeTakeFirst();
    if (isOver || found?.outcome === null || running(row.id) !== undefined) return;
    logs.finish(row.id);
  }
  // A failed look is followed by another one.
  const lookQuietly = () => void look().catch(() => {});
  const subjectId = row.snapshot_id ?? row.sandbox_id;
  const unsubscribe = events.subscribe((change) => {
    if (change.subjectId === subjectId) lookQuietly();
  });
  const timer = setInterval(lookQuietly, LOOK_EVERY_MS);
  lookQuietly();
  return () => {
    isOver = true;
    unsubscribe();
    clearInterval(timer);
  };
}
