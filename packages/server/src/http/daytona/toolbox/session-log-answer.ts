import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { CommandLogs } from '../../../sandboxes/toolbox/sessions/index.ts';
import { jsonStringPieces } from '../../json-stream.ts';

/** Up to here an answer is made in memory, which is quicker. */
const SMALL_BYTES = 256 * 1024;

/** `{…more, output, stdout, stderr}`. Large outputs are sent as they are read. */
export async function sendSessionLogs(
  reply: FastifyReply,
  logs: CommandLogs,
  more: Record<string, unknown> = {},
): Promise<FastifyReply> {
  reply.type('application/json; charset=utf-8');
  const body = jsonPieces(logs, more);
  if ((logs.size ?? Number.POSITIVE_INFINITY) > SMALL_BYTES) {
    return reply.send(Readable.from(body, { objectMode: false }));
  }
  let text = '';
  for await (const piece of body) text += piece;
  return reply.send(text);
}

/** The bytes as they are, both streams in the order in which they came. */
export function sendPlainLogs(reply: FastifyReply, bytes: AsyncIterable<Buffer>): FastifyReply {
  return reply.type('text/plain; charset=utf-8').send(Readable.from(bytes, { objectMode: false }));
}

async function* jsonPieces(logs: CommandLogs, more: Record<string, unknown>): AsyncGenerator<string> {
  yield '{';
  for (const [name, value] of Object.entries(more)) yield `${JSON.stringify(name)}:${JSON.stringify(value)},`;
  yield '"output":"';
  yield* jsonStringPieces(logs.read());
  yield '","stdout":"';
  yield* jsonStringPieces(logs.read('stdout'));
  yield '","stderr":"';
  yield* jsonStringPieces(logs.read('stderr'));
  yield '"}';
}
