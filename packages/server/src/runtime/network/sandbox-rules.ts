import type { NetworkPolicy } from '../types.ts';
import type { AddressBlock } from './address-plan.ts';
import { disjointRanges, formatIpv4Range, parseIpv4Range } from './ipv4-range.ts';

/** What the firewall holds about one sandbox whose policy is not the default. */
export interface SandboxRules {
  hostInterface: string;
  address: string;
  gateway: string;
  blocked: boolean;
  /** It has a list of what it may reach; all else is refused. */
  limited: boolean;
  ranges: readonly string[];
  /** Where on the gateway its names are looked up; its port 53 leads there, whatever name server it asks. */
  resolverPort: number | undefined;
  /** Bytes a second towards the sandbox and from it. */
  inRate: number | undefined;
  outRate: number | undefined;
}

/** The policy of a sandbox for which the firewall has nothing to remember. */
export function isDefaultPolicy(policy: NetworkPolicy): boolean {
  return !policy.blockAll && !isLimited(policy) && !policy.bandwidth?.inMbps && !policy.bandwidth?.outMbps;
}

/** The same for policies that mean the same. */
export function keyOf({ blockAll, allowRanges, allowDomains, bandwidth }: NetworkPolicy): string {
  return JSON.stringify([blockAll, allowRanges ?? [], allowDomains ?? [], bandwidth?.inMbps, bandwidth?.outMbps]);
}

export function isLimited({ allowRanges, allowDomains }: NetworkPolicy): boolean {
  return (allowRanges ?? []).length > 0 || (allowDomains ?? []).length > 0;
}

export function rulesFor(block: AddressBlock, policy: NetworkPolicy, resolverPort: number | undefined): SandboxRules {
  const ranges = (policy.allowRanges ?? []).flatMap((text) => parseIpv4Range(text) ?? []);
  return {
    hostInterface: block.hostInterface,
    address: block.address,
    gateway: block.gateway,
    blocked: policy.blockAll,
    limited: isLimited(policy),
    ranges: disjointRanges(ranges).map(formatIpv4Range),
    resolverPort,
    inRate: bytesPerSecond(policy.bandwidth?.inMbps),
    outRate: bytesPerSecond(policy.bandwidth?.outMbps),
  };
}

function bytesPerSecond(mbps: number | undefined): number | undefined {
  return mbps === undefined || mbps <= 0 ? undefined : Math.round((mbps * 1_000_000) / 8);
}
