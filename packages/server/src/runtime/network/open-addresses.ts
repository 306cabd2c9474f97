import { DarkroomError } from '../../platform/errors.ts';
import type { OpenAddress } from './firewall-elements.ts';

/** The addresses that names have led to, by sandbox: what of the firewall's timed set has to be known to change or rebuild it. */
export interface OpenAddresses {
  /** What has to be told to the firewall: nothing about an address that is open long enough already. */
  add(request: OpeningRequest): OpenAddress[];
  /** The firewall could not be told. */
  forget(addresses: readonly OpenAddress[]): void;
  /** Forgets and gives those of one sandbox that none of the kept names has led to. */
  closeAllBut(from: string, keeps: (name: string) => boolean): OpenAddress[];
  /** In place of everything: what an earlier server has opened, for which names nobody knows any more. */
  restore(addresses: readonly OpenAddress[]): void;
  list(): OpenAddress[];
  clear(): void;
}

export interface OpeningRequest {
  from: string;
  name: string;
  addresses: readonly string[];
  /** For how long they are to be open, when they have to be opened. */
  seconds: number;
  /** For how long they must be open: shorter, so that a name that is asked for all the time is not opened all the time. */
  neededSeconds: number;
}

interface Opened {
  names: Set<string>;
  expiresAt: number;
}

/** A name under somebody's control may answer anything; one sandbox must not fill the table that all share. */
const MAX_PER_SANDBOX = 256;
/** What an earlier server has opened was opened for some name. */
export const UNKNOWN_NAME = '';
// Of one address: any number of names may lead to it.
const MAX_NAMES = 32;

export function createOpenAddresses(now: () => number = Date.now): OpenAddresses {
  const sandboxes = new Map<string, Map<string, Opened>>();

  function roomFor(known: Map<string, Opened>, from: string) {
    if (known.size < MAX_PER_SANDBOX) return;
    // Run out in the firewall as well, unless a connection to it is in use: that one is cut at the next change.
    for (const [to, { expiresAt }] of known) if (expiresAt <= now()) known.delete(to);
    if (known.size < MAX_PER_SANDBOX) return;
    throw new DarkroomError('rate_limited', `sandbox ${from} has ${MAX_PER_SANDBOX} addresses open already`);
  }

  return {
    add({ from, name, addresses, seconds, neededSeconds }) {
      const known = sandboxes.get(from) ?? new Map<string, Opened>();
      sandboxes.set(from, known);
      const expiresAt = now() + seconds * 1000;
      return addresses.flatMap((to) => {
        const before = known.get(to);
        if (before === undefined) roomFor(known, from);
        const isOpen = before !== undefined && before.expiresAt >= now() + neededSeconds * 1000;
        known.set(to, {
          names: new Set([...(before?.names ?? []), name].slice(-MAX_NAMES)),
          expiresAt: isOpen ? before.expiresAt : expiresAt,
        });
        return isOpen ? [] : [{ from, to, seconds }];
      });
    },
    forget(addresses) {
      for (const { from, to } of addresses) sandboxes.get(from)?.delete(to);
    },
    closeAllBut(from, keeps) {
      const known = sandboxes.get(from) ?? new Map<string, Opened>();
      const closed: OpenAddress[] = [];
      for (const [to, { names }] of known) {
        for (const name of names) if (!keeps(name)) names.delete(name);
        if (names.size > 0) continue;
        known.delete(to);
        closed.push({ from, to, seconds: 0 });
      }
      if (known.size === 0) sandboxes.delete(from);
      return closed;
    },
    restore(addresses) {
      sandboxes.clear();
      for (const { from, to, seconds } of addresses) {
        const known = sandboxes.get(from) ?? new Map<string, Opened>();
        sandboxes.set(from, known.set(to, { names: new Set([UNKNOWN_NAME]), expiresAt: now() + seconds * 1000 }));
      }
    },
    list() {
      return [...sandboxes].flatMap(([from, known]) =>
        [...known]
          .map(([to, { expiresAt }]) => ({ from, to, seconds: Math.ceil((expiresAt - now()) / 1000) }))
          .filter(({ seconds }) => seconds > 0),
      );
    },
    clear: () => sandboxes.clear(),
  };
}
