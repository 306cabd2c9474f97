import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { CommandResult } from '../../../sandboxes/toolbox/index.ts';
import { jsonStringPieces } from '../../json-stream.ts';

/**
 * `{exitCode, result, …}`. A large result is sent as it is read, so that it is never in memory as a whole; `others` come behind.
 */
export async function sendCommandResult(
  reply: FastifyReply,
  { exitCode, output, outOfMemory }: CommandResult,
  others: Record<string, unknown> = {},
): Promise<FastifyReply> {
  const more = outOfMemory ? { ...others, 'x-out-of-memory': true } : others;
  reply.type('application/json; charset=utf-8');
  const small = output.small;
  if (small !== undefined) {
    await output.close();
    return reply.send(
      JSON.stringify({ exitCode, result: new TextDecoder('utf-8', { ignoreBOM: true }).decode(small), ...more }),
    );
  }
  async function* body(): AsyncGenerator<string> {
    try {
      yield `{"exitCode":${JSON.stringify(exitCode)},"result":"`;
      yield* jsonStringPieces(output.read());
      const rest = JSON.stringify(more).slice(1);
      yield rest === '}' ? '"}' : `",${rest}`;
    } finally {
      await output.close();
    }
  }
  return reply.send(Readable.from(body(), { objectMode: false }));
}
