import type { buildLogsQuerySchema } from '@darkroom/contract';
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import type { Builds } from '../../builds/index.ts';
import type { LogLine } from '../../builds/logs/build-log.ts';
import { createLogText } from '../../builds/logs/log-text.ts';
import type { BuildRow } from '../../builds/records.ts';
import { clientGone } from '../client-gone.ts';
import { streamAnswer } from '../stream-answer.ts';
import { buildLogLineDto } from './build-json.ts';

/** What comes at once is sent together from here on: one write a line would only be slower. */
const MANY_LINES = 32;
const PIECE_LINES = 512;
/** A build, and the wait for its turn, end before. */
const MAX_FOLLOW_MS = 5 * 60 * 60_000;

/** Whole lines, and each in a write of its own where few come at a time: clients print what they read at once as one. */
export async function sendBuildLog(
  reply: FastifyReply,
  builds: Pick<Builds, 'readLog'>,
  build: BuildRow,
  query: z.infer<typeof buildLogsQuerySchema>,
): Promise<FastifyReply> {
  const isJson = query.format === 'jsonl';
  const follow = query.follow !== undefined && query.follow !== 'false' && query.follow !== '0';
  const signal = AbortSignal.any([clientGone(reply), AbortSignal.timeout(MAX_FOLLOW_MS)]);
  const lines = builds.readLog(build, { from: query.from ?? 0, follow, signal });
  const show = isJson ? (line: LogLine) => `${JSON.stringify(buildLogLineDto(line))}\n` : createLogText();
  const type = isJson ? 'application/jsonl; charset=utf-8' : 'application/octet-stream';
  await streamAnswer(reply, { 'content-type': type }, pieces(lines, show));
  return reply;
}

async function* pieces(batches: AsyncIterable<LogLine[]>, show: (line: LogLine) => string): AsyncGenerator<string> {
  for await (const lines of batches) {
    const each = lines.length < MANY_LINES ? 1 : PIECE_LINES;
    for (let at = 0; at < lines.length; at += each) {
      yield lines
        .slice(at, at + each)
        .map(show)
        .join('');
    }
  }
}
