import { type InsertObject, type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import type { AuditEntry } from './audit-entry.ts';
import type { AuditJournal } from './audit-journal.ts';
import { storableEntry } from './storable-entry.ts';

type NewRow = InsertObject<Database, 'audit_logs'>;

export interface AuditWriter {
  /** On disk when this returns, where there is a journal; in the database within a moment, together with others. Nobody waits for that. */
  record(entry: AuditEntry): void;
  /** Resolves when all that was recorded is written, or could not be. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export interface AuditWriterDeps {
  db: Kysely<Database>;
  /** Without it the last moment is lost when the server is killed. */
  journal?: AuditJournal;
  log: { error(details: object, message: string): void };
}

const BATCH = 200;
/** Kept in memory while the database is away; what comes after that is in the journal alone, and read from there when the database is back. */
const MAX_WAITING = 20_000;
const GATHER_MS = 300;
const RETRY_MS = 1_000;
/** At the end the database may be away for good. */
const MAX_TRIES_AT_CLOSE = 3;

/** Rows beside the request that they tell of, so that no request is slower or fails for them. */
export function createAuditWriter({ db, journal, log }: AuditWriterDeps): AuditWriter {
  const waiting: NewRow[] = (journal?.read() ?? []).map(storableEntry).map(rowOf);
  let lost = 0;
  let closing = false;
  let running: Promise<void> | undefined;
  let hurry = Promise.withResolvers<void>();

  async function writeAll(): Promise<void> {
    let failures = 0;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      try {
        // One from the journal may be there: the server was killed before it was cleared.
        await db
          .insertInto('audit_logs')
          .values(batch)
          .onConflict((conflict) => conflict.column('id').doNothing())
          .execute();
        waiting.splice(0, batch.length);
        failures = 0;
      } catch (error) {
        failures++;
        log.error({ err: error, rows: waiting.length, lost }, 'the audit log could not be written');
        if (closing && failures >= MAX_TRIES_AT_CLOSE) return;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      }
    }
    if (lost > 0 && journal !== undefined) {
      lost = 0;
      waiting.push(...journal.read().map(storableEntry).map(rowOf));
      return writeAll();
    }
    journal?.clear();
  }

  /** What comes within a moment shares one transaction, and so one wait for the disk, which requests would have to share. */
  async function gathered(): Promise<void> {
    hurry = Promise.withResolvers();
    const timer = setTimeout(() => hurry.resolve(), GATHER_MS);
    if (closing) hurry.resolve();
    await hurry.promise;
    clearTimeout(timer);
  }

  function start(): Promise<void> {
    running ??= gathered()
      .then(writeAll)
      // Rows are there; their lines are cleared with the next.
      .catch((error: unknown) => log.error({ err: error }, 'the journal of the audit log could not be cleared'))
      .finally(() => {
        running = undefined;
        if (waiting.length > 0 && !closing) void start();
      });
    return running;
  }

  function startNow(): Promise<void> {
    const begun = start();
    hurry.resolve();
    return begun;
  }

  function note(entry: AuditEntry): void {
    try {
      journal?.add(entry);
    } catch (error) {
      log.error({ err: error, action: entry.action }, 'the journal of the audit log could not be written');
    }
  }

  if (waiting.length > 0) void start();

  return {
    record(given) {
      const entry = storableEntry(given);
      note(entry);
      if (waiting.length >= MAX_WAITING) {
        lost++;
        return;
      }
      waiting.push(rowOf(entry));
      void start();
    },
    flush: () => (waiting.length > 0 ? startNow() : (running ?? Promise.resolve())),
    async close() {
      closing = true;
      await (waiting.length > 0 ? startNow() : running);
      journal?.close();
    },
  };
}

function rowOf(entry: AuditEntry): NewRow {
  return {
    id: entry.id,
    organization_id: entry.organizationId,
    actor_id: entry.userId,
    key_id: entry.keyId,
    // A key may be deleted later, and then nothing else says which it was.
    key_prefix: sql<string | null>`(select prefix from api_keys where id = ${entry.keyId})`,
    key_suffix: sql<string | null>`(select suffix from api_keys where id = ${entry.keyId})`,
    action: entry.action,
    target_type: entry.targetType ?? null,
    target_id: entry.targetId ?? null,
    status_code: entry.statusCode,
    error_message: entry.errorMessage ?? null,
    ip_address: entry.ipAddress,
    user_agent: entry.userAgent ?? null,
    source: entry.source ?? null,
    metadata: entry.metadata === undefined ? null : JSON.stringify(entry.metadata),
    created_at: entry.at,
  };
}
