import { type Answer, type DecodedPacket, decode, encode, type Question, RECURSION_AVAILABLE } from 'dns-packet';
import { isHostName, normalName } from './domain-list.ts';
import { type OpenTime, openTime } from './open-time.ts';
import { isForwardedType, selectAnswer } from './select-answer.ts';
import type { AskUpstream } from './upstream.ts';

export interface QueryContext {
  isAllowed(name: string): boolean;
  mayReach(address: string): boolean;
  ask: AskUpstream;
  /** Resolves when the addresses are open to the sandbox. */
  open(name: string, addresses: readonly string[], time: OpenTime): Promise<void>;
  onFailure(name: string, error: unknown): void;
}

const RCODE = { ok: 0, formatError: 1, serverFailure: 2, noSuchName: 3, notImplemented: 4 } as const;
const HEADER_BYTES = 12;
// RFC 1035 without EDNS; with it, what passes any path in one piece.
const PLAIN_UDP_BYTES = 512;
const MAX_UDP_BYTES = 1232;
const MAX_TCP_BYTES = 65_535;
const TRUNCATED = 1 << 9;

/**
 * The answer to one query of a sandbox, or nothing where an answer would only serve somebody who forges. Names that are not on
 * the list do not exist for it: programs give up on that at once, and try again on a refusal.
 */
export async function answerQuery(
  context: QueryContext,
  message: Buffer,
  transport: 'udp' | 'tcp',
): Promise<Buffer | undefined> {
  if (message.length < HEADER_BYTES || (message.readUInt8(2) & 0x80) !== 0) return undefined;
  const id = message.readUInt16BE();
  const flags = message.readUInt16BE(2) & 0x7900;
  const reply = (rcode: number, question?: Question, answers: readonly Answer[] = []) =>
    encodeReply({ id, flags, rcode, question, answers }, limit);
  let limit = transport === 'tcp' ? MAX_TCP_BYTES : PLAIN_UDP_BYTES;

  let query: DecodedPacket;
  try {
    query = decode(message);
  } catch {
    return reply(RCODE.formatError);
  }
  const [question, ...more] = query.questions ?? [];
  if ((flags & 0x7800) !== 0) return reply(RCODE.notImplemented);
  if (question === undefined || more.length > 0) return reply(RCODE.formatError);
  if (transport === 'udp') limit = payloadSize(query);

  const name = normalName(question.name);
  if (question.class !== 'IN' || !isHostName(name) || !context.isAllowed(name))
    return reply(RCODE.noSuchName, question);
  // Sandboxes have no IPv6, and a service record may carry addresses that would not be opened.
  if (!isForwardedType(question.type)) return reply(RCODE.ok, question);
  try {
    const { rcode, packet } = await context.ask({ type: question.type, name, class: 'IN' });
    if (rcode !== RCODE.ok) return reply(rcode === RCODE.noSuchName ? rcode : RCODE.serverFailure, question);
    const { records, addresses, ttl } = selectAnswer({ name, type: question.type }, packet.answers, context.mayReach);
    if (addresses.length > 0) await context.open(name, addresses, openTime(ttl));
    return reply(RCODE.ok, question, records);
  } catch (error) {
    context.onFailure(name, error);
    return reply(RCODE.serverFailure, question);
  }
}

function payloadSize(query: DecodedPacket): number {
  const edns = query.additionals?.find((record) => record.type === 'OPT');
  if (edns?.type !== 'OPT') return PLAIN_UDP_BYTES;
  return Math.min(MAX_UDP_BYTES, Math.max(PLAIN_UDP_BYTES, edns.udpPayloadSize));
}

interface Reply {
  id: number;
  flags: number;
  rcode: number;
  question: Question | undefined;
  answers: readonly Answer[];
}

function encodeReply({ id, flags, rcode, question, answers }: Reply, limit: number): Buffer {
  const common = { type: 'response' as const, id, questions: question ? [question] : [] };
  const all = encode({ ...common, flags: flags | RECURSION_AVAILABLE | rcode, answers: [...answers] });
  if (all.length <= limit) return all;
  // The program asks again over TCP.
  return encode({ ...common, flags: flags | RECURSION_AVAILABLE | TRUNCATED | rcode, answers: [] });
}
