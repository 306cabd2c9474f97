import { messageOf } from '../../../platform/errors.ts';
import type { AddressBlock } from '../address-plan.ts';
import type { Firewall } from '../firewall.ts';
import type { NetworkLog } from '../network-log.ts';
import { answerQuery } from './answer-query.ts';
import { type DomainMatcher, domainMatcher } from './domain-list.ts';
import { type DnsListener, listenForQueries } from './listener.ts';
import type { OpenTime } from './open-time.ts';
import type { AskUpstream } from './upstream.ts';

/** Name servers of the sandboxes that may only look up what is on their lists. */
export interface DnsForwarder {
  /** Serves this list from now on; resolves to the port on the gateway's address. An empty list ends it: undefined. */
  serve(block: AddressBlock, domains: readonly string[]): Promise<number | undefined>;
  /** Whether a name is on the list that is served now. */
  allows(block: AddressBlock, name: string): boolean;
  close(): void;
}

export interface DnsForwarderOptions {
  ask: AskUpstream;
  mayReach(address: string): boolean;
  firewall: Pick<Firewall, 'open'>;
  log: NetworkLog;
}

interface Served {
  matches: DomainMatcher;
  listener: DnsListener;
}

// A name server that is away makes every query fail.
const LOG_EVERY_MS = 60_000;

export function createDnsForwarder({ ask, mayReach, firewall, log }: DnsForwarderOptions): DnsForwarder {
  const served = new Map<number, Served>();
  let loggedAt = Number.NEGATIVE_INFINITY;

  const allows = ({ index }: AddressBlock, name: string) => served.get(index)?.matches(name) ?? false;

  function onFailure(block: AddressBlock, name: string, error: unknown) {
    if (performance.now() - loggedAt < LOG_EVERY_MS) return;
    loggedAt = performance.now();
    log.warn({ sandbox: block.address, name, reason: messageOf(error) }, 'a name could not be looked up for a sandbox');
  }

  function listen(block: AddressBlock): Promise<DnsListener> {
    const context = {
      isAllowed: (name: string) => allows(block, name),
      mayReach,
      ask,
      open: (name: string, addresses: readonly string[], time: OpenTime) =>
        firewall.open({ from: block.address, name, addresses, ...time, isWanted: () => allows(block, name) }),
      onFailure: (name: string, error: unknown) => onFailure(block, name, error),
    };
    return listenForQueries({
      address: block.gateway,
      sandbox: block.address,
      answer: (message, transport) => answerQuery(context, message, transport),
    });
  }

  return {
    async serve(block, domains) {
      const current = served.get(block.index);
      if (domains.length === 0) {
        served.delete(block.index);
        current?.listener.close();
        return undefined;
      }
      const matches = domainMatcher(domains);
      if (current !== undefined) {
        current.matches = matches;
        return current.listener.port;
      }
      const listener = await listen(block);
      served.set(block.index, { matches, listener });
      return listener.port;
    },
    allows,
    close() {
      for (const { listener } of served.values()) listener.close();
      served.clear();
    },
  };
}
