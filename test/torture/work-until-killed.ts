import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from './client.ts';
import type { KillPlan } from './kill-plan.ts';
import type { Random } from './random.ts';
import { count, type Report } from './report.ts';
import { createRequests, Unanswered, Violation } from './requests.ts';
import { carryOut, drawOperation } from './schedule.ts';
import type { World } from './world.ts';

/** Several clients work on a server, until it is killed. What they find wrong comes back. */
export async function workUntilKilled(
  world: World,
  {
    cycle,
    random,
    plan,
    clients,
    report,
  }: { cycle: number; random: Random; plan: KillPlan; clients: number; report: Report },
): Promise<string[]> {
  const { darkroom, model, log, images, shared } = world;
  const wrong: string[] = [];
  const over = new AbortController();
  const enough = Promise.withResolvers<void>();
  let answered = 0;
  const works = Array.from({ length: clients }, async (_, index) => {
    const requests = createRequests(darkroom, log, `${cycle}/${index}`);
    const client = createClient({ index, cycle, requests, model, images, shared });
    const mine = random.fork(`client ${index}`);
    for (let number = 0; !over.signal.aborted; number++) {
      const kind = drawOperation(mine);
      const counts = report.operations.get(kind) ?? { answered: 0, unanswered: 0 };
      report.operations.set(kind, counts);
      try {
        await carryOut(client, kind, mine.fork(`operation ${number}`));
        counts.answered++;
        if (++answered >= plan.afterOperations) enough.resolve();
      } catch (error) {
        counts.unanswered++;
        if (error instanceof Unanswered) break;
        wrong.push(`client ${index}, ${kind}: ${error instanceof Violation ? error.message : String(error)}`);
        if (!(error instanceof Violation)) wrong.push(error instanceof Error ? (error.stack ?? '') : '');
        break;
      }
    }
    await requests.close();
  });
  const { ended } = darkroom;
  const byItself = await Promise.race([
    ended.then(() => true),
    Promise.all(works).then(() => false),
    (plan.afterOperations === 0 ? Promise.resolve() : enough.promise).then(() => sleep(plan.thenMs, false)),
  ]);
  await darkroom.kill();
  world.noteOutput();
  over.abort();
  const [, point] = /failpoint ([\w.-]+): killed/.exec(darkroom.output()) ?? [];
  if (byItself && point === undefined) wrong.push(`the server ended by itself: ${darkroom.output().slice(-3000)}`);
  const how = point ?? (plan.failpoint === undefined ? 'at a moment' : 'at a moment, before its failpoint');
  log.add(`--- cycle ${cycle}: killed ${how}`);
  count(report.kills, how);
  await Promise.all(works);
  return wrong;
}
