import type { SandboxRules } from './sandbox-rules.ts';

/** Sets and maps of the table that hold what is particular to one sandbox. */
export type PolicySet =
  | 'blocked'
  | 'limited'
  | 'named'
  | 'allowed_ranges'
  | 'resolvers'
  | 'resolver_sockets'
  | 'inbound'
  | 'outbound';

export interface PolicyElement {
  set: PolicySet;
  element: string;
}

/** An address that a name has led to, and for how long it is open to that sandbox. */
export interface OpenAddress {
  /** The sandbox's. */
  from: string;
  to: string;
  seconds: number;
}

// One segment as network cards hand it on may have 64 KiB; below some of them a limit lets nothing through.
const MIN_BURST_BYTES = 256 * 1024;
const BURST_SECONDS = 0.1;

export function elementsOf(rules: SandboxRules): PolicyElement[] {
  const { address, gateway, hostInterface, resolverPort } = rules;
  const found: PolicyElement[] = [];
  const add = (set: PolicySet, element: string) => found.push({ set, element });
  if (rules.blocked) add('blocked', `"${hostInterface}"`);
  if (rules.limited) add('limited', address);
  for (const range of rules.ranges) add('allowed_ranges', `${address} . ${range}`);
  if (resolverPort !== undefined) {
    add('named', address);
    add('resolvers', `${address} : ${gateway} . ${resolverPort}`);
    add('resolver_sockets', `${address} . ${gateway} . ${resolverPort}`);
  }
  if (rules.inRate !== undefined) add('inbound', `${address} : "${limitName(rules.inRate, 'in', address)}"`);
  if (rules.outRate !== undefined) add('outbound', `${address} : "${limitName(rules.outRate, 'out', address)}"`);
  return found;
}

/** The counting part of a bandwidth limit: an object of the table, one for each sandbox and direction. */
export function limitsOf({ address, inRate, outRate }: SandboxRules): Map<string, string> {
  const limits = new Map<string, string>();
  if (inRate !== undefined) limits.set(limitName(inRate, 'in', address), limit(inRate));
  if (outRate !== undefined) limits.set(limitName(outRate, 'out', address), limit(outRate));
  return limits;
}

/** With the rate in it: a running limit is not changed but replaced. */
function limitName(rate: number, direction: 'in' | 'out', address: string): string {
  return `${direction}_${address.replaceAll('.', '_')}_${rate}`;
}

function limit(rate: number): string {
  const burst = Math.max(MIN_BURST_BYTES, Math.round(rate * BURST_SECONDS));
  return `rate over ${rate} bytes/second burst ${burst} bytes`;
}

/** The lines of a transaction that lead from one state of a sandbox to another. */
export function changeLines(
  table: string,
  before: SandboxRules | undefined,
  after: SandboxRules | undefined,
): string[] {
  const [old, wanted] = [before ? elementsOf(before) : [], after ? elementsOf(after) : []];
  const [oldLimits, limits] = [before ? limitsOf(before) : new Map(), after ? limitsOf(after) : new Map()];
  const has = (list: readonly PolicyElement[], one: PolicyElement) =>
    list.some((other) => other.set === one.set && other.element === one.element);
  return [
    ...[...limits]
      .filter(([name]) => !oldLimits.has(name))
      .map(([name, text]) => `add limit ${table} ${name} { ${text} }`),
    ...old
      .filter((one) => !has(wanted, one))
      .map(({ set, element }) => `delete element ${table} ${set} { ${element} }`),
    ...wanted.filter((one) => !has(old, one)).map(({ set, element }) => `add element ${table} ${set} { ${element} }`),
    ...[...oldLimits.keys()].filter((name) => !limits.has(name)).map((name) => `delete limit ${table} ${name}`),
  ];
}

/** Added first: an element that has run out or is there already makes no difference then. */
export function openLines(table: string, addresses: readonly OpenAddress[]): string[] {
  if (addresses.length === 0) return [];
  const timed = addresses.map(({ from, to, seconds }) => `${from} . ${to} timeout ${seconds}s`).join(', ');
  return [
    `add element ${table} allowed_names { ${timed} }`,
    ...deleteLine(table, addresses),
    `add element ${table} allowed_names { ${timed} }`,
  ];
}

export function closeLines(table: string, addresses: readonly Pick<OpenAddress, 'from' | 'to'>[]): string[] {
  if (addresses.length === 0) return [];
  const keys = addresses.map(({ from, to }) => `${from} . ${to}`).join(', ');
  return [`add element ${table} allowed_names { ${keys} }`, ...deleteLine(table, addresses)];
}

function deleteLine(table: string, addresses: readonly Pick<OpenAddress, 'from' | 'to'>[]): string[] {
  return [`delete element ${table} allowed_names { ${addresses.map(({ from, to }) => `${from} . ${to}`).join(', ')} }`];
}
