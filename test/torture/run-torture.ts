import { checkDatabase } from './check-database.ts';
import { checkFsck } from './check-fsck.ts';
import { checkGone } from './check-gone.ts';
import { checkLitter } from './check-litter.ts';
import { checkPromises } from './check-promises.ts';
import { drawKillPlan } from './kill-plan.ts';
import { isSurely } from './model.ts';
import { createRandom } from './random.ts';
import { count, emptyReport, type Report } from './report.ts';
import { createRequests, type Requests } from './requests.ts';
import { restartServer } from './restart.ts';
import { workUntilKilled } from './work-until-killed.ts';
import { makeWorld, READY, type World } from './world.ts';

export interface TortureOptions {
  seed: string;
  cycles: number;
  clients?: number;
  /** Whether the state directory stays when something is wrong. */
  keepsState?: boolean;
  /** Whether it waits at the end until the queue is empty, which takes as long as the heartbeat of a job that a killed server had just been given. */
  waitsForJobs?: boolean;
  /** Ends the run, without a word on the cycle that is under way. */
  signal?: AbortSignal;
  say?: (line: string) => void;
}

export interface TortureResult {
  report: Report;
  /** The state directory, where something was wrong. */
  kept: string | undefined;
  /** What was asked and answered. */
  log: string;
  /** What the last servers had to say. */
  output: string;
}

/** Snapshots that are looked into after each cycle. */
const SAMPLES = 2;

/**
 * A server works for several clients and is killed, again and again; after each restart what it has is compared with what the clients were told. Ends
 * with the first cycle that found something wrong, and leaves the state directory as it is then.
 */
export async function runTorture(options: TortureOptions): Promise<TortureResult> {
  const { seed, cycles, clients = 5, keepsState = true, waitsForJobs = true, signal, say = () => {} } = options;
  const report = emptyReport(seed);
  const began = performance.now();
  const world = await makeWorld();
  let failed = true;
  try {
    for (let cycle = 1; cycle <= cycles && signal?.aborted !== true; cycle++) {
      const about = { cycle, seed, clients, report, signal, waitsForJobs, isLast: cycle === cycles };
      // A server that does not start, or ends while it is looked at.
      const wrong = await oneCycle(world, about).catch((error: unknown) => [
        error instanceof Error ? (error.stack ?? error.message) : String(error),
      ]);
      if (signal?.aborted) break;
      report.cycles = cycle;
      report.violations.push(...wrong.map((text) => ({ cycle, text })));
      if (wrong.length > 0) break;
      const { restart, work, check } = report.times;
      say(
        `cycle ${cycle}: ${work.at(-1)} + ${restart.at(-1)} + ${check.at(-1)} ms, ${[...report.kills.values()].reduce((a, b) => a + b, 0)} kills`,
      );
    }
    failed = report.violations.length > 0;
  } finally {
    report.seconds = (performance.now() - began) / 1000;
    await world.close({ keepState: failed && keepsState });
  }
  if (!failed) {
    const left = await checkGone(world.darkroom.stateDir);
    report.violations.push(...left.map((text) => ({ cycle: report.cycles, text })));
  }
  return {
    report,
    kept: failed && keepsState ? world.darkroom.stateDir : undefined,
    log: world.log.toString(),
    output: world.output(),
  };
}

interface Cycle {
  cycle: number;
  seed: string;
  clients: number;
  report: Report;
  isLast: boolean;
  waitsForJobs: boolean;
  signal: AbortSignal | undefined;
}

async function oneCycle(
  world: World,
  { cycle, seed, clients, report, isLast, waitsForJobs, signal }: Cycle,
): Promise<string[]> {
  // Its own sequence, so that it does not depend on how far clients came in the cycles before.
  const random = createRandom(`${seed}/${cycle}`);
  const plan = drawKillPlan(random);
  await world.arm(plan.failpoint ?? '');
  world.log.add(`--- cycle ${cycle}: ${JSON.stringify(plan)}`);
  const wrong = await timed(report.times.work, () => workUntilKilled(world, { cycle, random, plan, clients, report }));
  // Ctrl-C reaches the server and the registry too.
  if (signal?.aborted) return [];
  await timed(report.times.restart, () => restartServer(world, plan, report));
  wrong.push(...(await timed(report.times.check, () => check(world, report, { isLast, waitsForJobs }))));
  return wrong;
}

async function check(
  world: World,
  report: Report,
  { isLast, waitsForJobs }: Pick<Cycle, 'isLast' | 'waitsForJobs'>,
): Promise<string[]> {
  const { darkroom, model, log } = world;
  const requests = createRequests(darkroom, log, 'check');
  try {
    const wrong = await checkPromises(
      { requests, model },
      {
        ...(isLast ? { startAll: true } : { samples: SAMPLES }),
        onState: (kind, state) => count(report.states, `${kind} ${state}`),
      },
    );
    await collectGarbage(requests);
    const boxes = [...model.sandboxes];
    const idsOf = (which: typeof boxes) => new Set(which.flatMap(({ id }) => id ?? []));
    const running = boxes.filter((box) => isSurely(box, 'started') || isSurely(box, 'paused'));
    const [litter, fsck, database] = await Promise.all([
      checkLitter({
        ...READY,
        stateDir: darkroom.stateDir,
        pid: darkroom.pid,
        sandboxes: idsOf(boxes),
        running: idsOf(running),
      }),
      checkFsck(requests, isLast ? 'bytes' : 'quick'),
      checkDatabase(darkroom.stateDir, { allDone: isLast && waitsForJobs }),
    ]);
    return [...wrong, ...litter, ...fsck, ...database];
  } finally {
    await requests.close();
  }
}

/** What crashes left is garbage; it is collected some time after a start, when nobody asks for it. */
async function collectGarbage(requests: Requests): Promise<void> {
  await requests.api('/admin/gc', { method: 'POST', body: { withoutGrace: true }, expect: [200, 404] });
}

async function timed<T>(times: number[], work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  times.push(Math.round(performance.now() - began));
  return result;
}
