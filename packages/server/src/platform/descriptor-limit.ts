import { readFileSync } from 'node:fs';

/** How many descriptors this process may have. Node raises it to all that is allowed when it starts. */
export function descriptorLimit(): number {
  const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
}
