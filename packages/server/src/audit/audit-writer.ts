import { type InsertObject, type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

type NewRow = InsertObject<Database, 'audit_logs'>;

/** Who asked for what, and what came of it. */
export interface AuditEntry {
  organizationId: string;
  userId: string;
  keyId: string;
  action: string;
  targetType: string | undefined;
  targetId: string | undefined;
  statusCode: number;
  errorMessage: string | undefined;
  ipAddress: string;
  userAgent: string | undefined;
  source: string | undefined;
  metadata: Readonly<Record<string, unknown>> | undefined;
  at: Date;
}

export interface AuditWriter {
  /** Written within a moment, together with others; nobody waits for it. */
  record(entry: AuditEntry): void;
  /** Resolves when all that was recorded is written, or could not be. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export interface AuditWriterDeps {
  db: Kysely<Database>;
  log: { error(details: object, message: string): void };
}

const BATCH = 200;
/** Kept while the database is away; what comes after that is lost, and the log says so. */
const MAX_WAITING = 20_000;
const RETRY_MS = 1_000;
/** At the end the database may be away for good. */
const MAX_TRIES_AT_CLOSE = 3;

/** Rows beside the request that they tell of, so that no request is slower or fails for them. */
export function createAuditWriter({ db, log }: AuditWriterDeps): AuditWriter {
  const waiting: NewRow[] = [];
  let lost = 0;
  let closing = false;
  let running: Promise<void> | undefined;

  async function writeAll(): Promise<void> {
    let failures = 0;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      try {
        await db.insertInto('audit_logs').values(batch).execute();
        waiting.splice(0, batch.length);
        failures = 0;
      } catch (error) {
        failures++;
        log.error({ err: error, rows: waiting.length, lost }, 'the audit log could not be written');
        if (closing && failures >= MAX_TRIES_AT_CLOSE) return;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      }
    }
    lost = 0;
  }

  function start(): Promise<void> {
    running ??= new Promise<void>((resolve) => setImmediate(resolve)).then(writeAll).finally(() => {
      running = undefined;
    });
    return running;
  }

  return {
    record(entry) {
      if (waiting.length >= MAX_WAITING) {
        lost++;
        return;
      }
      waiting.push(rowOf(entry));
      void start();
    },
    flush: () => (waiting.length > 0 ? start() : (running ?? Promise.resolve())),
    async close() {
      closing = true;
      await (waiting.length > 0 ? start() : running);
    },
  };
}

function rowOf(entry: AuditEntry): NewRow {
  return {
    organization_id: entry.organizationId,
    actor_id: entry.userId,
    key_id: entry.keyId,
    // A key may be deleted later, and then nothing else says which it was.
    key_prefix: sql<string | null>`(select prefix from api_keys where id = ${entry.keyId})`,
    key_suffix: sql<string | null>`(select suffix from api_keys where id = ${entry.keyId})`,
    action: entry.action,
    target_type: entry.targetType ?? null,
    target_id: storable(entry.targetId, 512),
    status_code: entry.statusCode,
    error_message: storable(entry.errorMessage, 2_000),
    ip_address: storable(entry.ipAddress, 64),
    user_agent: storable(entry.userAgent, 256),
    source: storable(entry.source, 64),
    metadata: entry.metadata === undefined ? null : JSON.stringify(storableObject(entry.metadata)),
    created_at: entry.at,
  };
}

const MAX_TEXT = 1_000;
const MAX_ITEMS = 50;

/** PostgreSQL has no text with NUL or half a character in it. */
function storable(text: string | undefined, length: number): string | null {
  return text === undefined ? null : text.slice(0, length).toWellFormed().replaceAll('\0', '\u{fffd}');
}

function storableObject(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, storableValue(value)]));
}

function storableValue(value: unknown): unknown {
  if (typeof value === 'string') return storable(value, MAX_TEXT);
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map(storableValue);
  return typeof value === 'number' || typeof value === 'boolean' ? value : null;
}
