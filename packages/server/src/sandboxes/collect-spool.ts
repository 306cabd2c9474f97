import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kysely } from 'kysely';
import type { Collector, GarbageItem } from '../garbage/collector.ts';
import { atOneMoment, forgetMarks, readMarks, remark } from '../garbage/marks.ts';
import type { Database } from '../platform/db/schema.ts';
import { errnoOf } from '../platform/errors.ts';

export interface SpoolCollectorDeps {
  db: Kysely<Database>;
  spoolDirectory: string;
  runnerId: string;
  graceSeconds: number;
}

const WHY = 'its sandbox is gone';

/** Of an entry point: `ID.log`, the older `ID.log.1`, and the pipe `ID.fifo`. */
const ENTRYPOINT_FILE = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:log|log\.1|fifo)$/;

/** Output of entry points whose sandboxes are gone, and what a killed server was spooling. */
export function createSpoolCollector({ db, spoolDirectory, runnerId, graceSeconds }: SpoolCollectorDeps): Collector {
  const entrypoints = join(spoolDirectory, 'entrypoints');
  const mark = { runnerId, kind: 'entrypoint-log' } as const;
  const startedAt = Date.now() - performance.now();

  async function strayLogs(trx: Kysely<Database>): Promise<string[]> {
    const names = await namesIn(entrypoints);
    const ids = [...new Set(names.flatMap((name) => ENTRYPOINT_FILE.exec(name)?.[1] ?? []))];
    if (ids.length === 0) return [];
    const rows = await trx.selectFrom('sandboxes').select('id').where('id', 'in', ids).execute();
    // A row stays for a day after its sandbox, so one that is being made has one by any clock.
    const known = new Set(rows.map(({ id }) => id));
    return ids.filter((id) => !known.has(id));
  }

  const filesOf = (id: string) => ['log', 'log.1', 'fifo'].map((end) => join(entrypoints, `${id}.${end}`));

  async function logItem(id: string, goes: GarbageItem['goes']): Promise<GarbageItem> {
    const sizes = await Promise.all(filesOf(id).map(async (path) => (await sizeOf(path)) ?? 0));
    return { kind: 'entrypoint-log', id, sizeBytes: sizes.reduce((a, b) => a + b, 0), goes, why: WHY };
  }

  async function leftovers(): Promise<GarbageItem[]> {
    const items: GarbageItem[] = [];
    for (const name of await namesIn(spoolDirectory)) {
      if (!/^(output|upload)-/.test(name)) continue;
      const found = await stat(join(spoolDirectory, name)).catch(() => undefined);
      if (found === undefined || found.mtimeMs >= startedAt) continue;
      items.push({
        kind: 'spool-file',
        id: name,
        sizeBytes: found.size,
        goes: 'sweep',
        why: 'an earlier server was writing it when it ended',
      });
    }
    return items;
  }

  return {
    async plan() {
      const [stray, marks] = await atOneMoment(db, async (trx) => [await strayLogs(trx), await readMarks(trx, mark)]);
      const isDue = (id: string) => (marks.get(id)?.getTime() ?? Date.now()) + graceSeconds * 1000 <= Date.now();
      const logs = await Promise.all(stray.map((id) => logItem(id, isDue(id) ? 'sweep' : 'grace')));
      return [...logs, ...(await leftovers())];
    },
    async collect({ withoutGrace }) {
      const due = await atOneMoment(db, async (trx) => {
        const stray = (await strayLogs(trx)).map((id) => ({ id, why: WHY }));
        const marked = await remark(trx, { ...mark, graceSeconds: withoutGrace ? 0 : graceSeconds }, stray);
        return marked.filter(({ dueInMs }) => dueInMs <= 0).map(({ id }) => id);
      });
      const gone = await Promise.all(due.map((id) => logItem(id, 'sweep')));
      for (const path of due.flatMap(filesOf)) await rm(path, { force: true });
      await forgetMarks(db, mark, due);
      const files = await leftovers();
      for (const { id } of files) await rm(join(spoolDirectory, id), { force: true });
      return [...gone, ...files];
    },
  };
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
}

const sizeOf = (path: string) =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
