import type { AuditEntry } from './audit-entry.ts';

const MAX_TEXT = 1_000;
/** As many as forks can be made at once. */
const MAX_ITEMS = 100;

/** What of an entry is kept. Requests that were refused are written down as well, and may be of any size, shape and depth. */
export function storableEntry(entry: AuditEntry): AuditEntry {
  const { targetId, errorMessage, ipAddress, userAgent, source, metadata } = entry;
  return {
    ...entry,
    targetId: maybe(targetId, 512),
    errorMessage: maybe(errorMessage, 2_000),
    ipAddress: storable(ipAddress, 64),
    userAgent: maybe(userAgent, 256),
    source: maybe(source, 64),
    metadata: metadata && storableObject(metadata),
  };
}

/** PostgreSQL has no text with NUL or half a character in it. */
const storable = (text: string, length: number) => text.slice(0, length).toWellFormed().replaceAll('\0', '\u{fffd}');

const maybe = (text: string | undefined, length: number) => (text === undefined ? undefined : storable(text, length));

function storableObject(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.slice(0, MAX_ITEMS).map(storableValue) : storableValue(value),
    ]),
  );
}

/** Lists in lists are left out: nothing that is accepted has them, and a request could nest them deeper than the stack. */
function storableValue(value: unknown): unknown {
  if (typeof value === 'string') return storable(value, MAX_TEXT);
  return typeof value === 'number' || typeof value === 'boolean' ? value : null;
}
