import { type Kysely, sql } from 'kysely';
import { NOT_DURABLE } from '../platform/db/not-durable.ts';
import { persistently } from '../platform/db/persistently.ts';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { SecretBox } from '../platform/secrets.ts';
import { getOrganization, type OrganizationRow } from '../tenancy/organizations.ts';
import { BuildFailure, type FailedStep } from './failure.ts';
import { type BuildSettings, limitsOf } from './limits.ts';
import type { BuildLogs, BuildLogWriter } from './logs/build-log.ts';
import { createLogObserver } from './logs/log-observer.ts';
import { createRedactor } from './logs/redactor.ts';
import { type BuildRow, definitionOf, secretsOf } from './records.ts';
import { type BuildRun, endedElsewhere, isStopping, settleFailure } from './settle-failure.ts';
import type { StepRow } from './steps.ts';
import type { Turns } from './turns.ts';
import type { BuildEngine, BuiltImage } from './types.ts';

export interface RunDeps {
  db: Kysely<Database>;
  engine: Pick<BuildEngine, 'build'>;
  logs: BuildLogs;
  secrets: Pick<SecretBox, 'open'>;
  turns: Turns;
  /** Around the build, until the row that needs the layers is written. */
  layers: { hold(): Disposable };
  /** Frees layers that nothing needs. Answers how many went. */
  makeRoom(): Promise<number>;
  settings: BuildSettings;
  log: {
    info(details: object, message: string): void;
    warn(details: object, message: string): void;
    error(details: object, message: string): void;
  };
}

/** A build that takes the server down with it must not do so for ever. */
const MAX_STARTS = 5;
const MB = 1024 * 1024;

/** From the wait for its turn to the end. Leaves the row as it is when the server stops: the next one goes on. Never raises. */
export async function runBuild(deps: RunDeps, given: Omit<BuildRun, 'writer' | 'redactor'>): Promise<void> {
  const { logs, log } = deps;
  const { row, name, running } = given;
  try {
    const writer = await logs.open(row.id, { maxBytes: deps.settings.limits.logMb * MB });
    const run = { ...given, writer, redactor: createRedactor(secretsOf(row, deps.secrets).values()) };
    try {
      note(writer, row.starts === 0 ? `Build of ${name}` : 'The server was started again; the build goes on.');
      await inTurn(deps, run).catch((error: unknown) => settleFailure(deps, run, error));
    } finally {
      await writer.close();
    }
  } catch (error) {
    // It is taken up again, or its deadline ends it.
    log.error({ err: error, buildId: row.id }, `the end of a build could not be written: ${messageOf(error)}`);
  } finally {
    if (!isStopping(running.signal)) logs.finish(row.id);
  }
}

async function inTurn(deps: RunDeps, run: BuildRun): Promise<void> {
  const { row, subject, writer, tracker, running } = run;
  const turn = await deps.turns.take(row.organization_id, running.signal, (before) =>
    note(writer, `Waiting for its turn: ${before === 0 ? 'it is the next' : `${before} before it`}.`),
  );
  try {
    if (!(await subject.begin({ waited: turn.waited }))) throw endedElsewhere();
    const [begun, organization] = await Promise.all([
      noteStart(deps.db, row.id),
      getOrganization(deps.db, row.organization_id),
    ]);
    if (begun.starts > MAX_STARTS) throw startedTooOften();
    const startedAt = performance.now();
    // Layers that the build finds or makes stay until the row that needs them is written.
    using _hold = deps.layers.hold();
    const image = await build(deps, { ...run, row: begun, ranMs: begun.ran_ms }, organization);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    note(writer, `Built in ${seconds} s: ${image.layers.length} layers, ${Math.ceil(image.sizeBytes / MB)} MB.`);
    running.isSettling = true;
    await Promise.all([tracker.flush(), writer.flush()]);
    if (!(await persistently(() => subject.succeed(image), running.signal))) throw endedElsewhere();
    await failpoint('build.active');
    subject.onBuilt?.();
  } finally {
    turn.giveBack();
  }
}

async function build(
  deps: RunDeps,
  { row, ranMs, writer, redactor, tracker, running }: BuildRun & { ranMs: number },
  organization: OrganizationRow,
): Promise<BuiltImage> {
  const { limits } = deps.settings;
  const definition = definitionOf(row, deps.secrets, limitsOf(limits, organization));
  const endLate = () => {
    const step = tracker.steps.find(({ state }) => state === 'running');
    running.abort(tookTooLong(limits.minutes, step && failedStep(step)));
  };
  const deadline = setTimeout(endLate, Math.max(0, limits.minutes * 60_000 - ranMs));
  const onFull = (number: number) => {
    const step = tracker.steps.find((one) => one.number === number);
    running.abort(wroteTooMuch(limits.logMb, step && failedStep(step)));
  };
  const once = async () => {
    const observer = createLogObserver({ writer, redactor, steps: tracker, onFull });
    try {
      return await deps.engine.build(definition, observer, running.signal);
    } finally {
      observer.end();
    }
  };
  try {
    return await once().catch(async (error: unknown) => {
      if (running.signal.aborted || !(await madeRoom(deps, error))) throw error;
      note(writer, 'The disk was full. Layers that nothing needs were removed; the build goes on.');
      return once();
    });
  } finally {
    clearTimeout(deadline);
  }
}

/** A full disk may be full of layers that nothing needs. */
async function madeRoom(deps: RunDeps, error: unknown): Promise<boolean> {
  return error instanceof DarkroomError && error.code === 'insufficient_storage' && (await deps.makeRoom()) > 0;
}

/** With the time since its first start, by the database's clock. */
async function noteStart(db: Kysely<Database>, id: string): Promise<BuildRow & { ran_ms: number }> {
  const row = await db
    .updateTable('builds')
    .set({ starts: sql`starts + 1`, started_at: sql`coalesce(started_at, clock_timestamp())` })
    .where('id', '=', id)
    .where('outcome', 'is', null)
    .returningAll()
    .returning(sql<number>`extract(epoch from clock_timestamp() - started_at)::float8 * 1000`.as('ran_ms'))
    .returning(NOT_DURABLE)
    .executeTakeFirst();
  if (row === undefined) throw endedElsewhere();
  return row;
}

const note = (writer: BuildLogWriter, text: string) => writer.write({ step: undefined, stream: 'note', text });

const failedStep = ({ number, line, text }: StepRow): FailedStep => ({
  ...{ number, line, text },
  command: undefined,
  exitCode: undefined,
});

const tookTooLong = (minutes: number, step: FailedStep | undefined) =>
  new BuildFailure(`The build took longer than ${minutes} minutes.`, {
    class: 'limit_exceeded',
    code: 'timeout',
    step,
    hint: 'Finished steps are kept: the same build goes on behind them. Split what takes longest into steps of its own.',
    retryable: true,
  });

const wroteTooMuch = (megabytes: number, step: FailedStep | undefined) =>
  new BuildFailure(`The build wrote more than ${megabytes} MB to its log.`, {
    class: 'limit_exceeded',
    code: 'quota_exceeded',
    step,
    hint: 'Let the commands write less, or into a file. Each line counts with its number and time.',
    retryable: false,
  });

const startedTooOften = () =>
  new BuildFailure(`The server ended ${MAX_STARTS} times while it worked on this build.`, {
    class: 'internal',
    code: 'unavailable',
    hint: 'Look at the log of the server.',
    retryable: true,
  });
