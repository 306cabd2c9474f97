import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { messageOf } from '../platform/errors.ts';
import type { SandboxLog } from './types.ts';

/** The last activity of many sandboxes is written together, at most this often. It is counted in minutes. */
const FLUSH_MS = 5_000;

export interface SandboxActivity {
  /** Somebody used the sandbox now. */
  touch(sandboxId: string): void;
  /** The sandbox is in use until the returned function is called, however long that takes. */
  begin(sandboxId: string): () => void;
  /** In use now, or used and that is not in the database yet. */
  isBusy(sandboxId: string): boolean;
  /** Writes what was noted. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export function createActivity(db: Kysely<Database>, log: SandboxLog): SandboxActivity {
  // By the time that passes: the clock may be set before it is written.
  const noted = new Map<string, number>();
  const busy = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function touch(sandboxId: string): void {
    noted.set(sandboxId, performance.now());
    if (closed || timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      flush().catch((error: unknown) => log.warn({ err: error }, `last activity not written: ${messageOf(error)}`));
    }, FLUSH_MS);
    timer.unref();
  }

  async function flush(): Promise<void> {
    if (noted.size === 0) return;
    const entries = [...noted];
    noted.clear();
    try {
      await write(
        entries.map(([id]) => id),
        entries.map(([, at]) => at),
      );
    } catch (error) {
      // Noted again, but for what was used anew since.
      for (const [id, at] of entries) if (!noted.has(id)) noted.set(id, at);
      throw error;
    }
  }

  // An acknowledged command is not lost when this is: no need to wait for the disk.
  async function write(ids: string[], times: number[]): Promise<void> {
    const ago = times.map((at) => (performance.now() - at) / 1000);
    await db.transaction().execute(async (trx) => {
      await sql`set local synchronous_commit = off`.execute(trx);
      await sql`
        update sandboxes s set last_activity_at = greatest(s.last_activity_at, clock_timestamp() - make_interval(secs => n.ago))
        from unnest(${ids}::uuid[], ${ago}::float8[]) as n(id, ago) where s.id = n.id
      `.execute(trx);
    });
  }

  return {
    touch,
    begin(sandboxId) {
      touch(sandboxId);
      busy.set(sandboxId, (busy.get(sandboxId) ?? 0) + 1);
      let ended = false;
      return () => {
        if (ended) return;
        ended = true;
        const left = (busy.get(sandboxId) ?? 1) - 1;
        if (left > 0) busy.set(sandboxId, left);
        else busy.delete(sandboxId);
        touch(sandboxId);
      };
    },
    isBusy: (sandboxId) => busy.has(sandboxId) || noted.has(sandboxId),
    flush,
    async close() {
      closed = true;
      clearTimeout(timer);
      await flush();
    },
  };
}
