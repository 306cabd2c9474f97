/** What a name server says of how long an address is good for, within bounds: it may say anything from 0 to 68 years. */
const MIN_SECONDS = 60;
const MAX_SECONDS = 600;
// Between the moment when a program got the answer and when it connects.
const GRACE_SECONDS = 30;

// Of which this much is left at least whenever an answer is given.
const NEEDED_GRACE_SECONDS = 10;

export interface OpenTime {
  seconds: number;
  neededSeconds: number;
}

/** For how long an address with this time to live is opened to the sandbox, and for how long it must still be when it is already. */
export function openTime(ttl: number): OpenTime {
  const seconds = Math.max(MIN_SECONDS, answerTtl(ttl)) + GRACE_SECONDS;
  return { seconds, neededSeconds: answerTtl(ttl) + NEEDED_GRACE_SECONDS };
}

/** What the sandbox is told: it must not keep an answer for longer than the way is open. */
export function answerTtl(ttl: number): number {
  return Math.min(MAX_SECONDS, Math.max(0, Math.floor(Number.isFinite(ttl) ? ttl : 0)));
}
