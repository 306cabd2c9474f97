import { type Kysely, sql } from 'kysely';
import type { Collector, GarbageItem } from '../garbage/collector.ts';
import type { Database } from '../platform/db/schema.ts';
import { type DestroyDeps, destroy } from './remove.ts';
import type { SandboxSettings } from './types.ts';

const SYSTEM = { actor: 'system:garbage' } as const;
/** Taken in one look; each is an order for a job, and quick. */
const BATCH = 500;

export type StoppedCollectorDeps = DestroyDeps & {
  settings: Pick<SandboxSettings, 'runnerId' | 'deleteStoppedAfterDays'>;
};

/** Sandboxes that were stopped for the days after which the operator wants them deleted; none where that is not set. */
export function createStoppedCollector(context: StoppedCollectorDeps): Collector {
  const { db, settings } = context;
  const days = settings.deleteStoppedAfterDays;
  const reason = `Stopped for ${days} days, after which the operator of this server has sandboxes deleted`;

  const itemOf = ({ id, organization_id: organizationId, name, stopped_at }: StoppedRow): GarbageItem => ({
    kind: 'sandbox',
    id,
    organizationId,
    goes: 'sweep',
    why: `${name} is stopped since ${stopped_at?.toISOString()}, and ${days} days are the most`,
  });

  return {
    plan: async () => (days === undefined ? [] : (await stoppedFor(db, settings.runnerId, days)).map(itemOf)),
    async collect() {
      if (days === undefined) return [];
      const gone: GarbageItem[] = [];
      for (const row of await stoppedFor(db, settings.runnerId, days)) {
        if ((await destroy(context, SYSTEM, row.id, { reason, from: ['stopped'] })) !== undefined)
          gone.push(itemOf(row));
      }
      return gone;
    },
  };
}

type StoppedRow = Awaited<ReturnType<typeof stoppedFor>>[number];

async function stoppedFor(db: Kysely<Database>, runnerId: string, days: number) {
  return db
    .selectFrom('sandboxes')
    .select(['id', 'organization_id', 'name', 'stopped_at'])
    .where('runner_id', '=', runnerId)
    .where('state', '=', 'stopped')
    .where('stopped_at', '<', sql<Date>`now() - make_interval(secs => ${days * 86_400})`)
    .orderBy('stopped_at')
    .limit(BATCH)
    .execute();
}
