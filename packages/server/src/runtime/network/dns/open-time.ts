/** What a name server says of how long an address is good for, within bounds: it may say anything from 0 to 68 years. */
const MIN_SECONDS = 60;
const MAX_SECONDS = 600;
// Between the moment when a program got the answer and when it connects.
const GRACE_SECONDS = 30;

/** For how long an address with this time to live is open to the sandbox. */
export function openSeconds(ttl: number): number {
  const seconds = Number.isFinite(ttl) ? ttl : 0;
  return Math.min(MAX_SECONDS, Math.max(MIN_SECONDS, Math.floor(seconds))) + GRACE_SECONDS;
}

/** What the sandbox is told: it must not keep an answer for longer than the way is open. */
export function answerTtl(ttl: number): number {
  return Math.min(MAX_SECONDS, Math.max(0, Math.floor(Number.isFinite(ttl) ? ttl : 0)));
}
