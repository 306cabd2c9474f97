import { expect, test } from 'vitest';
import { reachableAddresses } from './reachable-address.ts';

const HOST = '198.51.100.1';
const options = { cidr: '10.213.0.0/16', allowPrivate: [], hostAddresses: () => [HOST] };

test.each(['203.0.113.10', '8.8.8.8', '1.0.0.1', '223.255.255.255'])('%s may be reached', (address) => {
  expect(reachableAddresses(options)(address)).toBe(true);
});

const NEVER = ['169.254.169.254', '169.254.1.1', '168.63.129.16', '100.100.100.200', '192.0.0.192', '10.213.7.7', HOST];
const PRIVATE = [
  '0.0.0.0',
  '10.0.0.1',
  '100.64.0.1',
  '127.0.0.1',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
];

test.each([...NEVER, ...PRIVATE, '::1', 'fe80::1', '2001:db8::1', 'example.com', '1.2.3', ''])(
  '%s may not',
  (address) => {
    expect(reachableAddresses(options)(address)).toBe(false);
  },
);

test('allowed private ranges may be reached, but for what never is', () => {
  const mayReach = reachableAddresses({ ...options, allowPrivate: ['0.0.0.0/0', 'fd00::/8'] });
  for (const address of PRIVATE) expect(mayReach(address), address).toBe(true);
  for (const address of NEVER) expect(mayReach(address), address).toBe(false);
  expect(reachableAddresses({ ...options, allowPrivate: ['10.1.2.3'] })('10.1.2.3')).toBe(true);
});

test('the addresses of the host are looked at again after a while', () => {
  let [own, time]: [string[], number] = [[], 0];
  const mayReach = reachableAddresses({ ...options, hostAddresses: () => own, now: () => time });
  expect(mayReach(HOST)).toBe(true);
  [own, time] = [[HOST], 10_000];
  expect(mayReach(HOST)).toBe(false);
});
