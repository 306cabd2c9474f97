import { BlockList, isIPv4, isIPv6 } from 'node:net';

/**
 * `forbidden`: nobody's registry is there, but a cloud's metadata service with the machine's own credentials may be.
 * `internal`: loopback and private ranges; a registry may live there, but a public one must not send us there.
 */
export type AddressClass = 'public' | 'internal' | 'forbidden';

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', prefix = ''] = range.split('/');
    list.addSubnet(address, Number(prefix), isIPv4(address) ? 'ipv4' : 'ipv6');
  }
  return list;
}

const FORBIDDEN = blockList([
  '0.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  // Metadata services outside the link-local range: Alibaba, Azure, AWS over IPv6.
  '100.100.100.200/32',
  '168.63.129.16/32',
  'fd00:ec2::/32',
  'fe80::/10',
  'ff00::/8',
  '::/128',
]);
const LOOPBACK = blockList(['127.0.0.0/8', '::1/128']);
const INTERNAL = blockList([
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  'fc00::/7',
  'fec0::/10',
  '2001:db8::/32',
]);

const familyOf = (address: string) => (isIPv4(address) ? 'ipv4' : 'ipv6');

export function classifyAddress(address: string): AddressClass {
  const plain = address.replace(/%.*$/, '');
  if (!isIPv4(plain) && !isIPv6(plain)) return 'forbidden';
  const inner = isIPv6(plain) ? embeddedIpv4(plain) : undefined;
  if (inner !== undefined && !LOOPBACK.check(plain, 'ipv6')) return classifyAddress(inner);
  const family = familyOf(plain);
  if (FORBIDDEN.check(plain, family)) return 'forbidden';
  return LOOPBACK.check(plain, family) || INTERNAL.check(plain, family) ? 'internal' : 'public';
}

/** Docker's rule for registries that may speak http: 127.0.0.0/8, ::1 and the name `localhost`. Takes `URL.hostname`. */
export function isLoopbackHost(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  if (bare === 'localhost') return true;
  return (isIPv4(bare) || isIPv6(bare)) && LOOPBACK.check(bare, familyOf(bare));
}

/** IPv4 inside IPv6 reaches the IPv4 host: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96), 6to4 (2002::/16). */
function embeddedIpv4(address: string): string | undefined {
  const groups = expand(address);
  const dotted = (high: number, low: number) => [high >> 8, high & 255, low >> 8, low & 255].join('.');
  const [g0 = 0, g1 = 0, g2 = 0, g3 = 0, g4 = 0, g5 = 0, g6 = 0, g7 = 0] = groups;
  if (g0 === 0x2002) return dotted(g1, g2);
  const middleIsZero = g2 === 0 && g3 === 0 && g4 === 0;
  const isMapped = g0 === 0 && g1 === 0 && middleIsZero && (g5 === 0xffff || (g5 === 0 && g6 !== 0));
  const isNat64 = g0 === 0x64 && g1 === 0xff9b && middleIsZero && g5 === 0;
  return isMapped || isNat64 ? dotted(g6, g7) : undefined;
}

function expand(address: string): number[] {
  // URL writes the last 32 bits of a dotted form as two groups and everything in its shortest form.
  const short = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = '', tail] = short.split('::');
  const groupsOf = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
}
