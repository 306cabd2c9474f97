import type { LiveContainer } from './live-container.ts';

/**
 * What the server holds open in a container at the pace of somebody else, a client that reads slowly or sends slowly. It keeps the
 * container's file system, and with it the disk, from being let go; so it ends with the container.
 */
interface Transfers {
  ended: boolean;
  stops: Set<() => void>;
}

const known = new WeakMap<LiveContainer, Transfers>();

function transfersOf(container: LiveContainer): Transfers {
  const transfers = known.get(container) ?? { ended: false, stops: new Set() };
  known.set(container, transfers);
  return transfers;
}

/** `stop` is called when the container ends, at once when it has; the returned function says that nothing is open any more. */
export function holdTransfer(container: LiveContainer, stop: () => void): () => void {
  const transfers = transfersOf(container);
  if (transfers.ended) stop();
  else transfers.stops.add(stop);
  return () => void transfers.stops.delete(stop);
}

export function endTransfers(container: LiveContainer): void {
  const transfers = transfersOf(container);
  transfers.ended = true;
  for (const stop of transfers.stops) stop();
  transfers.stops.clear();
}
