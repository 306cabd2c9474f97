import { createHash } from 'node:crypto';
import type { KeyParts } from './step-cache.ts';

/** One key for the same parts, in whatever order they were named. */
export function keyOf(parts: KeyParts): Buffer {
  const sorted = Object.entries(parts).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest();
}

export function digestOfText(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** What is kept of the parts: enough to see which of them differ, and nothing of what they say. */
export function fingerprintsOf(parts: KeyParts): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parts).map(([name, value]) => [name, createHash('sha256').update(value).digest('hex').slice(0, 16)]),
  );
}
