import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { AuditEntry } from './audit-entry.ts';

/** What a request did, beside it on the disk from before its answer until its row is in the database. */
export interface AuditJournal {
  /** What was added since it was cleared; at first what a server that was killed had not written into the database. */
  read(): AuditEntry[];
  /** Takes some ten microseconds: the file is not waited for, as only the server is expected to end, not the machine. */
  add(entry: AuditEntry): void;
  /** All that was added is in the database. */
  clear(): void;
  close(): void;
}

const FILE = 'audit.journal';
/** Of requests while the database is away; most of them fail then. */
const MAX_BYTES = 64 * 1024 * 1024;

const line = z.object({
  id: z.guid(),
  organizationId: z.guid(),
  userId: z.guid(),
  keyId: z.guid(),
  action: z.string(),
  targetType: z.string().optional(),
  targetId: z.string().optional(),
  statusCode: z.number(),
  errorMessage: z.string().optional(),
  ipAddress: z.string(),
  userAgent: z.string().optional(),
  source: z.string().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  at: z.coerce.date(),
});

export function openAuditJournal(stateDir: string): AuditJournal {
  const path = join(stateDir, FILE);
  const fd = openSync(path, 'a+', 0o600);
  let size = fstatSync(fd).size;
  // Half a line, of a server that was killed or a disk that was full, must not take the next with it.
  let isTorn = size > 0;
  let isClosed = false;
  return {
    read: () =>
      readFileSync(path, 'utf8')
        .split('\n')
        .flatMap((text) => entryOf(text) ?? []),
    add(entry) {
      // Its number may be another file's by now.
      if (isClosed) throw new Error(`${FILE} is closed`);
      if (size > MAX_BYTES) throw new Error(`${FILE} is full`);
      const bytes = Buffer.from(`${isTorn ? '\n' : ''}${JSON.stringify(entry)}\n`);
      const count = writeSync(fd, bytes);
      size += count;
      isTorn = count < bytes.length;
      if (isTorn) throw new Error(`${FILE} took ${count} of ${bytes.length} bytes`);
    },
    clear() {
      if (size === 0 || isClosed) return;
      ftruncateSync(fd, 0);
      size = 0;
      isTorn = false;
    },
    close() {
      if (!isClosed) closeSync(fd);
      isClosed = true;
    },
  };
}

/** A server that is killed may leave half a line, and a full disk too: nobody was answered then. */
function entryOf(text: string): AuditEntry | undefined {
  try {
    const { targetType, targetId, errorMessage, userAgent, source, metadata, ...entry } = line.parse(JSON.parse(text));
    return { ...entry, targetType, targetId, errorMessage, userAgent, source, metadata };
  } catch {
    return undefined;
  }
}
