import { BlockList, isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { METADATA_RANGES, PRIVATE_RANGES } from '../reserved-ranges.ts';

export interface ReachableOptions {
  /** The sandboxes' own range. */
  cidr: string;
  allowPrivate: readonly string[];
  hostAddresses?: () => readonly string[];
  now?: () => number;
}

const HOST_ADDRESSES_MS = 10_000;

/**
 * Whether a name may lead a sandbox to this address. A name may be made to point to the host or into its network, so that what
 * trusts the name trusts the wrong place (DNS rebinding); the firewall refuses these addresses too, whatever is opened.
 */
export function reachableAddresses(options: ReachableOptions): (address: string) => boolean {
  const { hostAddresses = ownAddresses, now = Date.now } = options;
  const always = listOf([...METADATA_RANGES, options.cidr]);
  const reserved = listOf(PRIVATE_RANGES);
  const allowed = listOf(options.allowPrivate);
  let host = new Set<string>();
  let hostReadAt = Number.NEGATIVE_INFINITY;

  function isHost(address: string): boolean {
    if (now() - hostReadAt >= HOST_ADDRESSES_MS) {
      host = new Set(hostAddresses());
      hostReadAt = now();
    }
    return host.has(address);
  }

  return (address) => {
    if (!isIPv4(address) || always.check(address) || isHost(address)) return false;
    return allowed.check(address) || !reserved.check(address);
  };
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits = '32'] = range.split('/');
    if (isIPv4(address)) list.addSubnet(address, Number(bits), 'ipv4');
  }
  return list;
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
}
