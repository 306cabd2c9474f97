import { expect, test } from 'vitest';
import { type NetworkColumns, type NetworkRequest, networkColumns, policyOf } from './network-policy.ts';

const LISTED: NetworkColumns = {
  network_block_all: false,
  network_allow_list: '10.0.0.0/8',
  domain_allow_list: 'a.com',
  bandwidth_in_mbps: 10,
  bandwidth_out_mbps: null,
};

test.each<[string, NetworkRequest, Partial<NetworkColumns>]>([
  ['nothing said changes nothing', {}, LISTED],
  ['a block keeps the lists', { networkBlockAll: true }, { ...LISTED, network_block_all: true }],
  [
    'the end of a block takes the lists away',
    { networkBlockAll: false },
    { ...LISTED, network_allow_list: null, domain_allow_list: null },
  ],
  [
    'a list with it stays',
    { networkBlockAll: false, domainAllowList: 'b.com' },
    { network_allow_list: null, domain_allow_list: 'b.com' },
  ],
  [
    'one list leaves the other',
    { domainAllowList: 'b.com' },
    { network_allow_list: '10.0.0.0/8', domain_allow_list: 'b.com' },
  ],
  ['an empty text clears a list', { networkAllowList: '' }, { network_allow_list: null, domain_allow_list: 'a.com' }],
  ['null clears a list', { domainAllowList: null }, { network_allow_list: '10.0.0.0/8', domain_allow_list: null }],
  [
    'one direction of bandwidth leaves the other',
    { bandwidthMbps: { out: 5 } },
    { bandwidth_in_mbps: 10, bandwidth_out_mbps: 5 },
  ],
  ['0 is without a limit', { bandwidthMbps: { in: 0 } }, { bandwidth_in_mbps: 0 }],
  ['null is the default', { bandwidthMbps: { in: null } }, { bandwidth_in_mbps: null }],
  ['null for both too', { bandwidthMbps: null }, { bandwidth_in_mbps: null, bandwidth_out_mbps: null }],
])('%s', (_what, request, expected) => {
  expect(networkColumns(request, LISTED)).toMatchObject(expected);
});

test('a list ends a block, and a block that is said with a list holds', () => {
  const blocked = { ...LISTED, network_block_all: true };
  expect(networkColumns({ networkAllowList: '10.0.0.0/8' }, blocked).network_block_all).toBe(false);
  expect(networkColumns({ networkAllowList: '' }, blocked).network_block_all).toBe(true);
  expect(networkColumns({ networkBlockAll: true, domainAllowList: 'a.com' }).network_block_all).toBe(true);
});

test.each([-1, 0.001, 1e6, Number.NaN])('a bandwidth of %d is refused', (out) => {
  expect(() => networkColumns({ bandwidthMbps: { out } })).toThrow('bandwidthMbps.out must be');
});

test('the policy has the server’s default where the sandbox says nothing of it', () => {
  expect(policyOf(LISTED, { in: 1, out: 2 })).toEqual({
    blockAll: false,
    allowRanges: ['10.0.0.0/8'],
    allowDomains: ['a.com'],
    bandwidth: { inMbps: 10, outMbps: 2 },
  });
  expect(policyOf({ ...networkColumns({ bandwidthMbps: { in: 0, out: 0 } }) }, { in: 1 })).toEqual({ blockAll: false });
});
