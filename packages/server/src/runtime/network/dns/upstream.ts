import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { type DecodedPacket, decode, encode, type Question, RECURSION_DESIRED } from 'dns-packet';
import { DarkroomError, messageOf } from '../../../platform/errors.ts';
import { normalName } from './domain-list.ts';
import { frame, readFrames } from './framing.ts';

export interface UpstreamAnswer {
  rcode: number;
  packet: DecodedPacket;
}

/** Asks the configured name servers, one after the other. */
export type AskUpstream = (question: Question) => Promise<UpstreamAnswer>;

const PORT = 53;
// Two servers are asked within the five seconds that a program waits at least.
const TRY_MS = 2_000;
const TOTAL_MS = 4_500;
const MAX_ANSWER_BYTES = 16 * 1024;
const UDP_PAYLOAD = 1232;

export function createUpstream(nameServers: readonly string[]): AskUpstream {
  return async (question) => {
    const deadline = performance.now() + TOTAL_MS;
    let failure: unknown = new DarkroomError('unavailable', 'no name server is known: set network.dns');
    for (const server of nameServers) {
      const left = Math.min(TRY_MS, deadline - performance.now());
      if (left <= 0) break;
      try {
        return await askServer(server, question, AbortSignal.timeout(left));
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
}

async function askServer(server: string, question: Question, signal: AbortSignal): Promise<UpstreamAnswer> {
  const overUdp = await ask(question, (query, check) => exchangeUdp(server, query, check, signal));
  if (!overUdp.packet.flag_tc) return overUdp;
  return ask(question, (query, check) => exchangeTcp(server, query, check, signal));
}

type Check = (message: Buffer) => UpstreamAnswer | undefined;

function ask(
  question: Question,
  exchange: (query: Buffer, check: Check) => Promise<UpstreamAnswer>,
): Promise<UpstreamAnswer> {
  const id = randomInt(0x10000);
  const query = encode({
    type: 'query',
    id,
    flags: RECURSION_DESIRED,
    questions: [question],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: UDP_PAYLOAD,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  });
  return exchange(query, (message) => matchingAnswer(message, id, question));
}

/** Only an answer to this very question counts: whoever cannot see the query has to guess its number and its port. */
export function matchingAnswer(message: Buffer, id: number, question: Question): UpstreamAnswer | undefined {
  let packet: DecodedPacket;
  try {
    packet = decode(message);
  } catch {
    return undefined;
  }
  const [echo, ...more] = packet.questions ?? [];
  if (!packet.flag_qr || packet.id !== id || echo === undefined || more.length > 0) return undefined;
  if (normalName(echo.name) !== normalName(question.name) || echo.type !== question.type) return undefined;
  return { rcode: message.readUInt16BE(2) & 0xf, packet };
}

function exchangeUdp(server: string, query: Buffer, check: Check, signal: AbortSignal): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    // One socket and so one port of the kernel's choice for each query; connected, it hears this server alone.
    const socket = createSocket('udp4');
    const settle = (act: () => void) => {
      signal.removeEventListener('abort', late);
      socket.close();
      act();
    };
    const late = () => settle(() => reject(noAnswer(server)));
    signal.addEventListener('abort', late, { once: true });
    socket.on('error', (error) => settle(() => reject(failed(server, error))));
    socket.on('message', (message) => {
      const answer = check(message);
      if (answer !== undefined) settle(() => resolve(answer));
    });
    socket.connect(PORT, server, () => socket.send(query));
  });
}

function exchangeTcp(server: string, query: Buffer, check: Check, signal: AbortSignal): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server, port: PORT, signal });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.on('error', (error) => fail(signal.aborted ? noAnswer(server) : failed(server, error)));
    socket.on('end', () => fail(failed(server, new Error('it closed the connection'))));
    readFrames(socket, MAX_ANSWER_BYTES, (message) => {
      const answer = check(message);
      if (answer === undefined) return;
      socket.destroy();
      resolve(answer);
    });
    socket.write(frame(query));
  });
}

function noAnswer(server: string): DarkroomError {
  return new DarkroomError('unavailable', `the name server ${server} did not answer`, { retryable: true });
}

function failed(server: string, cause: Error): DarkroomError {
  return new DarkroomError('unavailable', `the name server ${server}: ${messageOf(cause)}`, { cause, retryable: true });
}
