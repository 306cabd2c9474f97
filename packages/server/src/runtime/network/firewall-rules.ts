import { isIPv4 } from 'node:net';

export interface FirewallOptions {
  tag: string;
  cidr: string;
  interfacePrefix: string;
  nameServers: readonly string[];
  allowPrivate: readonly string[];
  /** Host interfaces of sandboxes that may reach nothing. */
  blocked: readonly string[];
}

/** Where clouds answer with the machine's own credentials. All link-local, and the ones that live elsewhere. */
const METADATA = ['169.254.0.0/16', '168.63.129.16', '100.100.100.200', '192.0.0.192'];

/** RFC 6890 and RFC 5771: everything that is not the public Internet. */
const PRIVATE = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/4',
  '240.0.0.0/4',
];

// The host's table of connections is shared (65,536 entries on a small machine): no sandbox may fill it alone.
const MAX_CONNECTIONS = 8192;

export function tableName(tag: string): string {
  return `darkroom_${tag}`;
}

/**
 * One nft transaction that puts the whole table in place of an older one, so that no packet passes between the two.
 *
 * - Refusals are answers (ICMP), not silence, so that a program in a sandbox fails at once instead of waiting.
 * - Destinations are judged twice: before other tables' DNAT (a published port of the host leads nowhere) and after it.
 * - `accept` here ends only this table's chains: a host firewall that drops forwarded packets still does.
 */
export function firewallRules(options: FirewallOptions): string {
  const table = `inet ${tableName(options.tag)}`;
  const sandbox = `"${options.interfacePrefix}*"`;
  const refuse = 'reject with icmpx type admin-prohibited';
  return `add table ${table}
delete table ${table}
table ${table} {
  set blocked {
    type ifname
    ${elements(options.blocked.map((name) => `"${name}"`))}
  }
  set name_servers {
    type ipv4_addr
    ${elements(options.nameServers)}
  }
  set metadata {
    type ipv4_addr
    flags interval
    ${elements(METADATA)}
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
    ${elements(PRIVATE)}
  }

  chain dns {
    ip daddr @name_servers meta l4proto { tcp, udp } th dport 53 accept
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
    jump destination
    fib daddr type { local, broadcast, multicast, anycast } ${refuse}
  }
  chain to_host {
    type filter hook input priority filter; policy accept;
    iifname != ${sandbox} return
    ct state established ct direction reply accept
    ct state related ct direction reply icmp type { destination-unreachable, time-exceeded } accept
    iifname @blocked ${refuse}
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
    jump destination
    accept
  }
  chain to_sandbox {
    oifname @blocked drop
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
