import { invalidRequest } from '../platform/errors.ts';
import type { NetworkPolicy } from '../runtime/types.ts';
import { parseAllowList, parseDomainList } from './network-lists.ts';
import type { SandboxRow } from './types.ts';

/** What a client says of a sandbox's network. A member that is left out says nothing; null or an empty text takes a list away. */
export interface NetworkRequest {
  networkBlockAll?: boolean | undefined;
  networkAllowList?: string | null | undefined;
  domainAllowList?: string | null | undefined;
  /** Megabits a second; 0 is without a limit, null the server's default. */
  bandwidthMbps?: { in?: number | null | undefined; out?: number | null | undefined } | null | undefined;
}

export type NetworkColumns = Pick<
  SandboxRow,
  'network_block_all' | 'network_allow_list' | 'domain_allow_list' | 'bandwidth_in_mbps' | 'bandwidth_out_mbps'
>;

export interface BandwidthDefaults {
  in?: number | undefined;
  out?: number | undefined;
}

const OPEN: NetworkColumns = {
  network_block_all: false,
  network_allow_list: null,
  domain_allow_list: null,
  bandwidth_in_mbps: null,
  bandwidth_out_mbps: null,
};

const MAX_MBPS = 100_000;
// Less than a packet now and then.
const MIN_MBPS = 0.01;

/**
 * What a request makes of the network that a sandbox has: as the clients describe it, a list implies that not everything is
 * blocked, and `networkBlockAll: false` by itself takes the lists away.
 */
export function networkColumns(request: NetworkRequest, before: NetworkColumns = OPEN): NetworkColumns {
  const ranges = listColumn(request.networkAllowList, parseAllowList);
  const domains = listColumn(request.domainAllowList, parseDomainList);
  const reset = request.networkBlockAll === false;
  const hasNewList = (ranges ?? domains ?? null) !== null;
  return {
    network_block_all: request.networkBlockAll ?? (hasNewList ? false : before.network_block_all),
    network_allow_list: kept(ranges, reset ? null : before.network_allow_list),
    domain_allow_list: kept(domains, reset ? null : before.domain_allow_list),
    bandwidth_in_mbps: bandwidthColumn('in', request.bandwidthMbps, before.bandwidth_in_mbps),
    bandwidth_out_mbps: bandwidthColumn('out', request.bandwidthMbps, before.bandwidth_out_mbps),
  };
}

export function policyOf(columns: NetworkColumns, defaults: BandwidthDefaults = {}): NetworkPolicy {
  const inMbps = columns.bandwidth_in_mbps ?? defaults.in ?? 0;
  const outMbps = columns.bandwidth_out_mbps ?? defaults.out ?? 0;
  return {
    blockAll: columns.network_block_all,
    ...(columns.network_allow_list === null ? {} : { allowRanges: columns.network_allow_list.split(',') }),
    ...(columns.domain_allow_list === null ? {} : { allowDomains: columns.domain_allow_list.split(',') }),
    ...(inMbps + outMbps === 0
      ? {}
      : { bandwidth: { ...(inMbps > 0 ? { inMbps } : {}), ...(outMbps > 0 ? { outMbps } : {}) } }),
  };
}

export function isSameNetwork(one: NetworkColumns, other: NetworkColumns): boolean {
  return (
    one.network_block_all === other.network_block_all &&
    one.network_allow_list === other.network_allow_list &&
    one.domain_allow_list === other.domain_allow_list &&
    one.bandwidth_in_mbps === other.bandwidth_in_mbps &&
    one.bandwidth_out_mbps === other.bandwidth_out_mbps
  );
}

/** Undefined when the request says nothing, null when it says that there is none. */
function listColumn(text: string | null | undefined, parse: (text: string) => string[]): string | null | undefined {
  if (text === undefined) return undefined;
  return parse(text ?? '').join(',') || null;
}

function kept(wanted: string | null | undefined, before: string | null): string | null {
  return wanted === undefined ? before : wanted;
}

function bandwidthColumn(
  direction: 'in' | 'out',
  wanted: NetworkRequest['bandwidthMbps'],
  before: number | null,
): number | null {
  if (wanted === null) return null;
  const mbps = wanted?.[direction];
  if (mbps === undefined) return before;
  if (mbps === null || mbps === 0 || (mbps >= MIN_MBPS && mbps <= MAX_MBPS)) return mbps;
  throw invalidRequest(`bandwidthMbps.${direction} must be 0 for no limit, or from ${MIN_MBPS} to ${MAX_MBPS}`);
}
