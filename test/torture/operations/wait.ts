import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../client.ts';
import { Violation } from '../requests.ts';

const LIMIT_MS = 60_000;
const POLL_MS = 25;

/** A start that takes longer than a client may wait. */
export async function untilStarted({ requests }: Client, id: string): Promise<void> {
  const { state, errorReason } = await untilState(requests, `/sandbox/${id}`, ['started', 'error', 'stopped']);
  if (state !== 'started') throw new Violation(`sandbox ${id} became ${state} and not started: ${errorReason}`);
}

export const RESTING_SNAPSHOT = ['active', 'inactive', 'error', 'build_failed'];

/** What it says when it rests. `absent` when it is gone. */
export async function untilState(
  requests: Client['requests'],
  path: string,
  states: readonly string[],
  limitMs = LIMIT_MS,
): Promise<{ id?: string; state: string; errorReason?: string | null }> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await requests.api(path, { expect: [200, 404] });
    if (answer.status === 404) return { state: 'absent' };
    const found = answer.json();
    if (states.includes(found.state)) return found;
    if (performance.now() > deadline) {
      throw new Violation(`${path} is still ${found.state} after ${limitMs} ms, and not ${states.join(' or ')}`);
    }
    await sleep(POLL_MS);
  }
}
