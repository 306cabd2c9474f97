import { isIPv4 } from 'node:net';
import { elementsOf, limitsOf, type OpenAddress, type PolicySet } from './firewall-elements.ts';
import { METADATA_RANGES, PRIVATE_RANGES } from './reserved-ranges.ts';
import type { SandboxRules } from './sandbox-rules.ts';

export interface FirewallOptions {
  tag: string;
  cidr: string;
  interfacePrefix: string;
  nameServers: readonly string[];
  allowPrivate: readonly string[];
  /** Sandboxes with a policy of their own. */
  sandboxes: readonly SandboxRules[];
  /** What their names have led to. */
  open: readonly OpenAddress[];
}

// The host's table of connections is shared (65,536 entries on a small machine): no sandbox may fill it alone.
const MAX_CONNECTIONS = 8192;
// A second, of one sandbox: what its name server counts itself has by then cost the server a turn.
const MAX_QUERY_PACKETS = 200;
// Of all sandboxes together, each of which keeps open as many as it has connections: few of them must not fill it for all.
const MAX_OPEN_ADDRESSES = 262_144;
const MAX_SANDBOXES = 65_535;
/** For so long an address that a name has led to stays open to a connection that is in use. */
export const IN_USE_SECONDS = 660;

export function tableName(tag: string): string {
  return `darkroom_${tag}`;
}

/**
 * One nft transaction that puts the whole table in place of an older one, so that no packet passes between the two.
 *
 * - Refusals are answers, not silence, so that a program in a sandbox fails at once instead of waiting. For TCP it is a reset, which
 *   ends open connections as well; an ICMP error comes while `connect` still holds its socket, and is heard at the second try only.
 * - Destinations are judged twice: before other tables' DNAT (a published port of the host leads nowhere) and after it.
 * - A list of what a sandbox may reach holds for every packet, so that a connection ends when its address leaves the list.
 *   What counts is the address that the sandbox asked for, before any DNAT.
 * - `accept` here ends only this table's chains: a host firewall that drops forwarded packets still does.
 */
export function firewallRules(options: FirewallOptions): string {
  const table = `inet ${tableName(options.tag)}`;
  const sandbox = `"${options.interfacePrefix}*"`;
  const refuse = 'jump refuse';
  const own = options.sandboxes.flatMap(elementsOf);
  const policy = (set: PolicySet) => elements(own.filter((one) => one.set === set).map(({ element }) => element));
  const limits = options.sandboxes
    .flatMap((rules) => [...limitsOf(rules)])
    .map(([name, limit]) => `  limit ${name} { ${limit} }`)
    .join('\n');
  return `add table ${table}
delete table ${table}
table ${table} {
${limits}
  set blocked {
    type ifname
    ${policy('blocked')}
  }
  set limited {
    type ipv4_addr
    ${policy('limited')}
  }
  set named {
    type ipv4_addr
    ${policy('named')}
  }
  set allowed_ranges {
    type ipv4_addr . ipv4_addr
    flags interval
    ${policy('allowed_ranges')}
  }
  set allowed_names {
    type ipv4_addr . ipv4_addr
    size ${MAX_OPEN_ADDRESSES}
    flags dynamic, timeout
    timeout ${IN_USE_SECONDS}s
    ${elements(options.open.map(({ from, to, seconds }) => `${from} . ${to} timeout ${seconds}s`))}
  }
  map resolvers {
    type ipv4_addr : ipv4_addr . inet_service
    ${policy('resolvers')}
  }
  set resolver_sockets {
    type ipv4_addr . ipv4_addr . inet_service
    ${policy('resolver_sockets')}
  }
  set queries {
    type ipv4_addr
    size ${MAX_SANDBOXES}
    flags dynamic, timeout
    timeout 60s
  }
  map inbound {
    type ipv4_addr : limit
    ${policy('inbound')}
  }
  map outbound {
    type ipv4_addr : limit
    ${policy('outbound')}
  }
  set name_servers {
    type ipv4_addr
    ${elements(options.nameServers)}
  }
  set metadata {
    type ipv4_addr
    flags interval
    ${elements(METADATA_RANGES)}
  }
  set allowed_private {
    type ipv4_addr
    flags interval
    auto-merge
    ${elements(options.allowPrivate.filter(isIPv4Range))}
  }
  set connections {
    type ifname
    size 65535
    flags dynamic
  }
  set private {
    type ipv4_addr
    flags interval
    ${elements(PRIVATE_RANGES)}
  }

  chain dns {
    ip daddr @name_servers meta l4proto { tcp, udp } th dport 53 accept
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }
  chain limited_out {
    ip saddr . ip daddr @allowed_ranges return
    ct state established ip saddr . ip daddr @allowed_names update @allowed_names { ip saddr . ip daddr timeout ${IN_USE_SECONDS}s } return
    ip saddr . ip daddr @allowed_names return
    ${refuse}
  }
  chain limited_in {
    ct original ip saddr . ct original ip daddr @allowed_ranges return
    ct original ip saddr . ct original ip daddr @allowed_names return
    drop
  }
  chain destination {
    jump dns
    ip daddr @metadata ${refuse}
    ip daddr ${options.cidr} ${refuse}
    ip daddr @allowed_private return
    ip daddr @private ${refuse}
  }

  chain anti_spoof {
    type filter hook prerouting priority raw; policy accept;
    iifname != ${sandbox} return
    meta nfproto != ipv4 drop
    fib saddr . iif oif missing drop
  }
  chain before_dnat {
    type filter hook prerouting priority mangle; policy accept;
    iifname != ${sandbox} return
    ct state established,related ct direction reply accept
    ct state invalid drop
    iifname @blocked ${refuse}
    ip saddr @named meta l4proto { tcp, udp } th dport 53 return
    ip saddr @limited jump limited_out
    jump destination
    fib daddr type { local, broadcast, multicast, anycast } ${refuse}
  }
  chain queries {
    add @queries { ip saddr limit rate over ${MAX_QUERY_PACKETS}/second burst ${2 * MAX_QUERY_PACKETS} packets } drop
    accept
  }
  chain own_name_server {
    type nat hook prerouting priority dstnat - 10; policy accept;
    iifname ${sandbox} meta l4proto { tcp, udp } th dport 53 dnat ip to ip saddr map @resolvers
  }
  chain to_host {
    type filter hook input priority filter; policy accept;
    iifname != "dr*" iif != "lo" ip daddr ${options.cidr} ct state new drop
    iifname != ${sandbox} return
    ct state established ct direction reply accept
    ct state related ct direction reply icmp type { destination-unreachable, time-exceeded } accept
    iifname @blocked ${refuse}
    ip saddr . ip daddr . th dport @resolver_sockets jump queries
    ip saddr @named ${refuse}
    jump dns
    ${refuse}
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname ${sandbox} jump from_sandbox
    oifname ${sandbox} jump to_sandbox
  }
  chain from_sandbox {
    oifname ${sandbox} ${refuse}
    iifname @blocked ${refuse}
    ct state invalid drop
    ct state new add @connections { iifname ct count over ${MAX_CONNECTIONS} } ${refuse}
    tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
    ip saddr @named meta l4proto { tcp, udp } th dport 53 ${refuse}
    limit name ip saddr map @outbound drop
    jump destination
    accept
  }
  chain to_sandbox {
    oifname @blocked drop
    ip daddr @limited jump limited_in
    limit name ip daddr map @inbound drop
    ct state established,related ct direction reply accept
    drop
  }
  chain leave {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${options.cidr} oifname != ${sandbox} masquerade
  }
}
`;
}

function elements(values: readonly string[]): string {
  return values.length === 0 ? '' : `elements = { ${values.join(', ')} }`;
}

function isIPv4Range(range: string): boolean {
  return isIPv4(range.split('/')[0] ?? '');
}
