import { FAILPOINTS } from '../../packages/server/src/platform/failpoint-names.ts';
import type { Random } from './random.ts';

/** When the server is killed in a cycle: at a moment, at a failpoint (at a moment, when it is not passed), and sometimes once more while the next one starts. */
export interface KillPlan {
  /** So many operations are answered, so that a slow machine does as much as a quick one. */
  afterOperations: number;
  /** And so much time goes by. */
  thenMs: number;
  failpoint: string | undefined;
  /** Ends the next start after so many ms, or at a failpoint of recovery. */
  duringStart: { afterMs: number } | { failpoint: string } | undefined;
}

const RECOVERY = FAILPOINTS.filter((name) => name.startsWith('recover.') || name === 'job.dead-taken');
/** Not by any operation of the schedule. */
const RARE = /^(repair|webhook|lease|resize|recover)\./;
const WORK = FAILPOINTS.filter((name) => !RARE.test(name));
/** Passed by nearly every operation: the first passes alone would always be the same. */
const FREQUENT = /^(move|job|start|gc)\./;

export function drawKillPlan(random: Random): KillPlan {
  const point = random.pick(WORK);
  const pass = 1 + random.below(FREQUENT.test(point) ? 8 : 2);
  const failpoint = random.chance(0.6) ? `${point}=kill@${pass}` : undefined;
  const recovery = { failpoint: `${random.pick(RECOVERY)}=kill` };
  const atMoment = { afterMs: random.below(1_500) };
  const duringStart = random.chance(0.5) ? recovery : atMoment;
  return {
    afterOperations: failpoint === undefined ? random.below(24) : 24,
    thenMs: random.below(60),
    failpoint,
    duringStart: random.chance(0.1) ? duringStart : undefined,
  };
}
