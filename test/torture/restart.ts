import type { KillPlan } from './kill-plan.ts';
import { count, type Report } from './report.ts';
import type { World } from './world.ts';

/** Starts the server again; in some cycles it is killed once more in the middle of that. */
export async function restartServer(world: World, plan: KillPlan, report: Report): Promise<void> {
  const { darkroom, arm, log } = world;
  const { duringStart } = plan;
  if (duringStart !== undefined) {
    await arm('failpoint' in duringStart ? duringStart.failpoint : '');
    let timer: NodeJS.Timeout | undefined;
    const onProcess = (kill: () => void) => {
      if ('afterMs' in duringStart) timer = setTimeout(kill, duringStart.afterMs);
    };
    const failure = await darkroom.restart({ onProcess }).catch((error: unknown) => error);
    clearTimeout(timer);
    if (failure !== undefined) {
      const text = String(failure);
      const [, point] = /failpoint ([\w.-]+): killed/.exec(text) ?? [];
      if (point === undefined && !text.includes('SIGKILL')) throw failure;
      const how = point ?? 'while it started';
      log.add(`--- killed ${how}`);
      count(report.kills, how);
    }
    await darkroom.kill();
    world.noteOutput();
  }
  await arm('');
  // In most cycles without the look at the machine, which takes as long as all the rest.
  await darkroom.restart({ quickly: duringStart === undefined });
}
