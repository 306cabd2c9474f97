import { readFileSync, writeFileSync } from 'node:fs';

const OWN = '/proc/self/oom_score_adj';

/**
 * Calls back with this process's own score changed: what is started meanwhile inherits it from its first moment. Written to the
 * child afterwards, the score came too late on a busy machine, when the child had a child of its own already.
 */
export function withOomScore<T>(score: number, start: () => T): T {
  const own = readFileSync(OWN, 'utf8').trim();
  if (Number(own) >= score) return start();
  writeFileSync(OWN, String(score));
  try {
    return start();
  } finally {
    writeFileSync(OWN, own);
  }
}
