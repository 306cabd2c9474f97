import { DarkroomError, messageOf, withHint } from '../platform/errors.ts';
import { assertPool } from './assert-pool.ts';
import { CHECKS } from './checks/index.ts';
import type { Check, Finding, FsckReport, Progress, Scene } from './types.ts';

export interface FsckOptions {
  repair: boolean;
  checks?: readonly Check[];
}

type Found = Extract<FsckReport, { type: 'finding' }>;

/** Looks at everything, and with `repair` repairs each thing as it is found: later checks see what the earlier ones have put right. */
export async function* runFsck(
  scene: Scene,
  { repair, checks = CHECKS }: FsckOptions,
): AsyncGenerator<FsckReport, void, undefined> {
  const began = performance.now();
  const counts = { findings: 0, repaired: 0 };
  for (const check of checks) {
    scene.signal.throwIfAborted();
    const { name, title } = check;
    yield { type: 'progress', check: name, title, done: 0, total: 0 };
    for await (const item of itemsOf(check, scene)) {
      if ('done' in item) {
        yield { type: 'progress', check: name, title, ...item };
        continue;
      }
      const found = await settle(scene, item, repair);
      if (found === undefined) continue;
      counts.findings += 1;
      if (found.outcome === 'repaired') counts.repaired += 1;
      yield found;
    }
  }
  const seconds = (performance.now() - began) / 1000;
  yield { type: 'end', ...counts, left: counts.findings - counts.repaired, seconds };
}

/** All that a run finds, for those who do not follow it. */
export async function collectFindings(scene: Scene, options: FsckOptions): Promise<Found[]> {
  const findings: Found[] = [];
  for await (const report of runFsck(scene, options)) if (report.type === 'finding') findings.push(report);
  return findings;
}

/** A check that cannot look is a finding, too, and must not keep the others from looking. */
async function* itemsOf(check: Check, scene: Scene): AsyncGenerator<Finding | Progress> {
  try {
    yield* check.find(scene);
  } catch (error) {
    scene.signal.throwIfAborted();
    scene.log.warn({ err: error, check: check.name }, 'a check could not look');
    const problem = `it could not be looked at: ${messageOf(error)}`;
    yield { kind: 'check-failed', id: check.name, where: check.title, problem };
  }
}

/** Undefined when it was no longer so by the time of its repair. */
async function settle(scene: Scene, finding: Finding, repair: boolean): Promise<Found | undefined> {
  const { repair: given, ...what } = finding;
  const found: Found = { type: 'finding', ...what, repair: given?.does ?? null, outcome: 'found', note: null };
  if (!repair || given === undefined) return found;
  try {
    await assertPool(scene);
    const note = await given.run(scene.signal);
    if (note === undefined) return undefined;
    scene.log.warn({ fsck: what, note }, 'fsck repaired something');
    return { ...found, outcome: 'repaired', note };
  } catch (error) {
    scene.signal.throwIfAborted();
    scene.log.warn({ fsck: what, err: error }, 'fsck could not repair something');
    return { ...found, outcome: 'failed', note: error instanceof DarkroomError ? withHint(error) : messageOf(error) };
  }
}
