import type { Answer, DecodedPacket, OptAnswer } from 'dns-packet';
import { normalName } from './domain-list.ts';
import { answerTtl } from './open-time.ts';

/** What of an upstream's answer concerns the question, and where it leads. */
export interface SelectedAnswer {
  records: Answer[];
  /** Addresses that are to be opened, in the order of the answer. */
  addresses: string[];
  /** The shortest time to live on the way to them. */
  ttl: number;
}

const MAX_CHAIN = 16;
const MAX_ADDRESSES = 32;
/** Their data is names and text alone: they lead nowhere until a name in them is asked for. */
const FOLLOWED_TYPES: ReadonlySet<string> = new Set(['A', 'CNAME', 'TXT', 'MX', 'SRV', 'CAA', 'NS', 'SOA']);

export function isForwardedType(type: string): boolean {
  return FOLLOWED_TYPES.has(type);
}

/**
 * Follows the aliases from the name that was asked for; records of other names are left out, because any server on the way
 * could slip them in. Addresses that must not be reached are left out as well.
 */
export function selectAnswer(
  question: { name: string; type: string },
  answers: DecodedPacket['answers'],
  mayReach: (address: string) => boolean,
): SelectedAnswer {
  const records: Answer[] = [];
  const addresses: string[] = [];
  let ttl = Number.POSITIVE_INFINITY;
  let name = normalName(question.name);
  const all = answers ?? [];

  const take = (record: Exclude<Answer, OptAnswer>) => {
    const shortened = answerTtl(record.ttl ?? 0);
    ttl = Math.min(ttl, shortened);
    records.push({ ...record, ttl: shortened });
  };

  for (let step = 0; step < MAX_CHAIN; step += 1) {
    for (const record of all) {
      if (record.type === 'OPT' || record.type !== question.type || normalName(record.name) !== name) continue;
      if (record.type === 'A') {
        if (addresses.length === MAX_ADDRESSES || addresses.includes(record.data) || !mayReach(record.data)) continue;
        addresses.push(record.data);
      }
      take(record);
    }
    if (records.some((record) => record.type === question.type)) break;
    const alias = all.find((record) => record.type === 'CNAME' && normalName(record.name) === name);
    if (alias?.type !== 'CNAME') break;
    take(alias);
    name = normalName(alias.data);
  }
  return { records, addresses, ttl: Number.isFinite(ttl) ? ttl : 0 };
}
