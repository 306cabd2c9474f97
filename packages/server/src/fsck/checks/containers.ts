import { sql } from 'kysely';
import type { Check, Finding } from '../types.ts';

/** What runs is a sandbox that is said to run, and the other way round. Without a server, the next one sees to that when it starts. */
export const containers: Check = {
  name: 'containers',
  title: 'what runs',
  async *find(scene) {
    if (scene.offline) return;
    const running = (await scene.containers.list()).filter((each) => each.running);
    const runningIds = running.map(({ id }) => id);
    // The grace is for those that start or end just now.
    const { rows } = await sql<{ id: string; name: string; state: string }>`
      select id, name, state from sandboxes
      where coalesce(runner_id, ${scene.runnerId}) = ${scene.runnerId}
        and state_entered_at < clock_timestamp() - make_interval(secs => ${Math.min(60, scene.graceMs / 1000)})
        and ((state in ('started', 'paused') and id::text <> all(${runningIds}))
          or (state in ('stopped', 'destroyed') and id::text = any(${runningIds})))`.execute(scene.db);
    const now = new Set((await scene.containers.list()).filter((each) => each.running).map(({ id }) => id));
    for (const { id, name, state } of rows) {
      const shouldRun = state === 'started' || state === 'paused';
      // It changed while we looked.
      if (shouldRun === now.has(id)) continue;
      yield {
        kind: shouldRun ? 'sandbox-not-running' : 'sandbox-still-running',
        id,
        where: `sandbox ${name}`,
        problem: shouldRun
          ? `it is ${state}, and nothing of it runs. Stop it, or restart the server`
          : `it is ${state}, and it runs. Restart the server, which ends it`,
      } satisfies Finding;
    }
    const { rows: known } = await sql<{ id: string }>`
      select id from sandboxes where id::text = any(${runningIds})`.execute(scene.db);
    const knownIds = new Set(known.map(({ id }) => id));
    for (const id of runningIds) {
      if (knownIds.has(id) || !now.has(id)) continue;
      // A row may come a moment after its container.
      yield {
        kind: 'container-of-nobody',
        id,
        where: 'running',
        problem:
          'it runs, and no sandbox is known by this id. Unless it is just being made, restart the server, which ends it',
      } satisfies Finding;
    }
  },
};
