import { isIPv4 } from 'node:net';
import { domainToASCII } from 'node:url';
import { invalidRequest } from '../platform/errors.ts';
import { isHostName, normalName } from '../runtime/network/dns/domain-list.ts';
import { parseIpv4Range } from '../runtime/network/ipv4-range.ts';

export const MAX_RANGES = 10;
export const MAX_DOMAINS = 20;

/** `10.0.0.0/8, 203.0.113.7/32`; nothing in it is no list. Raises `invalid_request` with the entry that is wrong. */
export function parseAllowList(text: string): string[] {
  const entries = split('networkAllowList', text, MAX_RANGES);
  for (const entry of entries) {
    if (parseIpv4Range(entry) !== undefined) continue;
    throw invalidRequest(`networkAllowList: ${quote(entry)} is not an IPv4 range in CIDR notation`, {
      hint: isIPv4(entry)
        ? `Write ${entry}/32 for this one address.`
        : 'A range is written like 203.0.113.0/24; names go into domainAllowList.',
    });
  }
  return entries;
}

/** `example.com, *.example.org`, as the DNS has them: lower case, other alphabets in their ASCII form. */
export function parseDomainList(text: string): string[] {
  return split('domainAllowList', text, MAX_DOMAINS).map((entry) => {
    const wildcard = entry.startsWith('*.') ? '*.' : '';
    const name = asciiName(entry.slice(wildcard.length));
    if (isDomain(name)) return wildcard + name;
    throw invalidRequest(`domainAllowList: ${quote(entry)} is not a domain`, {
      hint: isIPv4(name)
        ? 'Addresses go into networkAllowList.'
        : 'Write example.com for one name or *.example.com for all below it, without scheme, port or path.',
    });
  });
}

function split(field: string, text: string, max: number): string[] {
  if (text.trim() === '') return [];
  const entries = text.split(',').map((entry) => entry.trim());
  if (entries.length > max) throw invalidRequest(`${field} has ${entries.length} entries; at most ${max} are possible`);
  const empty = entries.indexOf('');
  if (empty >= 0) throw invalidRequest(`${field}: entry ${empty + 1} is empty`);
  return [...new Set(entries)];
}

function asciiName(name: string): string {
  const normal = normalName(name);
  return /^[\x20-\x7e]*$/.test(normal) ? normal : domainToASCII(normal);
}

/** With a dot: a single label is no name that everybody understands alike. The last label of a name is not a number. */
function isDomain(name: string): boolean {
  return isHostName(name) && /\.[a-z0-9-]*[a-z][a-z0-9-]*$/.test(name);
}

function quote(entry: string): string {
  return JSON.stringify(entry.length > 260 ? `${entry.slice(0, 260)}…` : entry);
}
