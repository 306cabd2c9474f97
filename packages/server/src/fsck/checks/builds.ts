import { sql } from 'kysely';
import { moveRow } from '../../lifecycle/move.ts';
import { SNAPSHOT } from '../../lifecycle/statements.ts';
import { SNAPSHOT_TABLE } from '../../lifecycle/tables.ts';
import { FSCK } from '../actor.ts';
import type { Check, Finding, Scene } from '../types.ts';

/** Snapshots that wait for a build that there is not, and builds that go on for what has long ended. */
export const builds: Check = {
  name: 'builds',
  title: 'builds and what they are for',
  async *find(scene) {
    const { rows: waiting } = await sql<{ id: string; name: string }>`
      select s.id, s.name from snapshots s where s.state = 'building'
        and not exists (select from builds b where b.id = s.build_id and b.snapshot_id = s.id)`.execute(scene.db);
    for (const { id, name } of waiting) {
      yield {
        kind: 'build-missing',
        id,
        where: `snapshot ${name}`,
        problem: 'it is building, and its build is not there',
        repair: { does: 'mark it as failed', run: () => fail(scene, id) },
      } satisfies Finding;
    }
    const { rows: going } = await sql<{ id: string; state: string }>`
      select b.id, coalesce(s.state, x.state) as state from builds b
        left join snapshots s on s.id = b.snapshot_id left join sandboxes x on x.id = b.sandbox_id
      where b.outcome is null
        and coalesce(s.state, x.state) not in ('building', 'pending_build', 'building_snapshot')`.execute(scene.db);
    for (const { id, state } of going) {
      yield {
        kind: 'build-not-ended',
        id,
        where: 'builds',
        problem: `it has no outcome, and what it is for is ${state}`,
        repair: { does: 'end it as cancelled, and forget its secrets', run: () => end(scene, id) },
      } satisfies Finding;
    }
  },
};

async function fail({ db }: Scene, id: string): Promise<string | undefined> {
  const moved = await moveRow(db, SNAPSHOT, SNAPSHOT_TABLE, id, {
    from: ['building'],
    to: 'build_failed',
    actor: FSCK,
    reason: 'What it was to be built by is not there any more. Delete it and create it again.',
    errorCode: 'unavailable',
  });
  return moved === undefined ? undefined : 'marked as failed';
}

async function end({ db }: Scene, id: string): Promise<string | undefined> {
  const { numUpdatedRows } = await db
    .updateTable('builds')
    .set({ outcome: 'cancelled', secrets: null, finished_at: new Date(), updated_at: new Date() })
    .where('id', '=', id)
    .where('outcome', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows === 0n ? undefined : 'ended';
}
