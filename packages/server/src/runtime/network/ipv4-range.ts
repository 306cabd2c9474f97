/** Addresses as numbers, because nft refuses ranges that overlap and wants them without the bits of a host. */
export interface Ipv4Range {
  first: number;
  /** Bits of the network, 0 to 32. */
  bits: number;
}

const RANGE = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/;

/** `a.b.c.d/n`; bits of the host are dropped. Undefined for everything else. */
export function parseIpv4Range(text: string): Ipv4Range | undefined {
  const match = RANGE.exec(text);
  if (match === null) return undefined;
  const bytes = match.slice(1, 5).map(Number);
  const bits = Number(match[5]);
  if (bits > 32 || bytes.some((byte) => byte > 255)) return undefined;
  const address = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return { first: address - (address % sizeOf(bits)), bits };
}

export function formatIpv4Range({ first, bits }: Ipv4Range): string {
  return `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.')}/${bits}`;
}

/** The same addresses without a range that lies in another one: two of them either nest or have nothing in common. */
export function disjointRanges(ranges: readonly Ipv4Range[]): Ipv4Range[] {
  const kept: Ipv4Range[] = [];
  for (const range of [...ranges].sort((a, b) => a.bits - b.bits)) {
    if (!kept.some((outer) => contains(outer, range))) kept.push(range);
  }
  return kept;
}

function contains(outer: Ipv4Range, inner: Ipv4Range): boolean {
  return inner.bits >= outer.bits && inner.first >= outer.first && inner.first < outer.first + sizeOf(outer.bits);
}

function sizeOf(bits: number): number {
  return 2 ** (32 - bits);
}
