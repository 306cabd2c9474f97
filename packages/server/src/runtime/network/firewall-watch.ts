import { messageOf } from '../../platform/errors.ts';
import type { Firewall } from './firewall.ts';
import type { NetworkLog } from './network-log.ts';

// A look costs some milliseconds; a restart of the host's own firewall service leaves sandboxes unguarded for at most this long.
const WATCH_INTERVAL_MS = 5_000;

/** Puts the firewall back when someone else on the host took it away (`nft flush ruleset`). Returns what ends the watch. */
export function watchFirewall(
  firewall: Firewall,
  log: NetworkLog,
  intervalMs = WATCH_INTERVAL_MS,
): () => Promise<void> {
  let looking: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look).catch((error) => {
      log.error({ reason: messageOf(error) }, 'the sandboxes’ firewall could not be looked at or put back');
    });
  }, intervalMs);
  timer.unref();

  async function look() {
    if (await firewall.ensure())
      log.warn({}, 'the sandboxes’ firewall was taken away by something else on this host; put it back');
  }

  return () => {
    clearInterval(timer);
    return looking;
  };
}
