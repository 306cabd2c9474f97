import { invalidRequest } from '../platform/errors.ts';
import { isUuid } from '../snapshots/find.ts';

interface Cursor {
  sort: string;
  order: 'asc' | 'desc';
  /** The sort key of the last row, as PostgreSQL writes it: a Date would lose microseconds and with them rows. */
  key: string;
  id: string;
}

export function encodeCursor({ sort, order, key, id }: Cursor): string {
  return Buffer.from(JSON.stringify([sort, order, key, id])).toString('base64url');
}

/** Raises `invalid_request` for anything that this server did not make for the same order of the same list. */
export function decodeCursor(
  text: string,
  expected: { sort: string; order: 'asc' | 'desc'; type: 'text' | 'float8' | 'timestamptz' },
): { key: string; id: string } {
  const parts = parse(text);
  if (parts === undefined) throw invalidRequest('Invalid cursor');
  const [sort, order, key, id] = parts;
  if (sort !== expected.sort || order !== expected.order) {
    throw invalidRequest('The cursor belongs to a list in another order');
  }
  if (typeof key !== 'string' || typeof id !== 'string' || !isUuid(id) || !isKey(key, expected.type)) {
    throw invalidRequest('Invalid cursor');
  }
  return { key, id };
}

function parse(text: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return Array.isArray(value) && value.length === 4 ? value : undefined;
  } catch {
    return undefined;
  }
}

function isKey(key: string, type: 'text' | 'float8' | 'timestamptz'): boolean {
  if (type === 'float8') return Number.isFinite(Number(key)) && key !== '';
  if (type === 'timestamptz') return /^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d){0,2}$/.test(key);
  return !key.includes('\0');
}
