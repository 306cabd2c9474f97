import type { Kysely } from 'kysely';
import { persistently } from '../platform/db/persistently.ts';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { failureRecord, reasonOf } from './failures/failure-record.ts';
import type { BuildLogWriter } from './logs/build-log.ts';
import type { Redactor } from './logs/redactor.ts';
import { type BuildRow, endBuild } from './records.ts';
import type { RunningBuild } from './running-build.ts';
import type { StepTracker } from './step-tracker.ts';
import type { BuildSubject } from './subject.ts';

/** A build in this process, from the wait for its turn to its end. */
export interface BuildRun {
  row: BuildRow;
  /** Of what it is for. */
  name: string;
  subject: BuildSubject;
  writer: BuildLogWriter;
  redactor: Redactor;
  tracker: StepTracker;
  running: RunningBuild;
}

/** The server stops, and nothing is wrong with the build. */
export function isStopping({ aborted, reason }: AbortSignal): boolean {
  return aborted && reason instanceof DarkroomError && reason.code === 'unavailable';
}

/** Somebody else has moved what the build is for: nobody waits for it any more. */
class EndedElsewhere extends DarkroomError {}

export const endedElsewhere = () => new EndedElsewhere('conflict', 'The build was cancelled.');

/** Writes down why it failed, where that is not somebody's wish or the end of the server. */
export async function settleFailure(
  { db, log }: { db: Kysely<Database>; log: { error(details: object, message: string): void } },
  { row, subject, writer, redactor, tracker, running }: BuildRun,
  raised: unknown,
): Promise<void> {
  const { signal } = running;
  if (isStopping(signal)) {
    await tracker.flush();
    return;
  }
  // What ended it from outside is the reason, whatever the steps made of it.
  const error: unknown = signal.aborted ? signal.reason : raised;
  if (error instanceof EndedElsewhere) {
    writer.write({ step: undefined, stream: 'note', text: 'The build was cancelled.' });
    return writer.flush();
  }
  const failure = failureRecord(error, (step, count) => writer.tail(step, count), {
    dockerfile: row.dockerfile,
    redactor,
  });
  const reason = reasonOf(failure);
  if (failure.class === 'internal')
    log.error({ err: error, buildId: row.id, [subject.kind]: subject.id }, 'a build failed');
  writer.write({ step: undefined, stream: 'note', text: reason });
  running.isSettling = true;
  await Promise.all([tracker.flush(), writer.flush()]);
  await persistently(
    () =>
      db.transaction().execute(async (trx) => {
        await endBuild(trx, row.id, { outcome: 'failed', failure });
        // Moved by somebody else meanwhile: what that one wrote holds.
        if (!(await subject.fail(trx, { reason, code: failure.code }))) throw endedElsewhere();
      }),
    AbortSignal.timeout(GIVE_UP_MS),
  ).catch((cause: unknown) => {
    if (!(cause instanceof EndedElsewhere)) throw cause;
  });
  await failpoint('build.failed');
}

const GIVE_UP_MS = 5 * 60_000;
