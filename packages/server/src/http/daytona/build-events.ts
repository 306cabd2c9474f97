import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Builds } from '../../builds/index.ts';
import type { BuildRow } from '../../builds/records.ts';
import type { BuildEvent } from '../../builds/watch-build.ts';
import { clientGone } from '../client-gone.ts';
import { streamAnswer } from '../stream-answer.ts';
import { buildDto, buildLogLineDto, buildStepDto } from './build-json.ts';

export function wantsEvents({ headers }: FastifyRequest): boolean {
  return (headers.accept ?? '').split(',').some((type) => type.trim().startsWith('text/event-stream'));
}

/** The build as server-sent events. Lines of the log have their number as id, so that a browser that connects again goes on behind the last. */
export async function sendBuildEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  builds: Pick<Builds, 'watch'>,
  build: BuildRow,
): Promise<FastifyReply> {
  const last = request.headers['last-event-id'];
  const from = typeof last === 'string' && /^\d{1,15}$/.test(last) ? Number(last) + 1 : 0;
  const events = builds.watch(build, { from, signal: clientGone(reply) });
  await streamAnswer(reply, { 'content-type': 'text/event-stream; charset=utf-8' }, texts(events));
  return reply;
}

async function* texts(events: AsyncIterable<BuildEvent>): AsyncGenerator<string> {
  for await (const event of events) yield textOf(event);
}

function textOf(event: BuildEvent): string {
  switch (event.kind) {
    case 'build':
    case 'end':
      return sse(event.kind, buildDto(event.view));
    case 'step':
      return sse('step', buildStepDto(event.step));
    case 'log':
      return `id: ${event.line.index}\n${sse('log', buildLogLineDto(event.line))}`;
    case 'quiet':
      return ': \n\n';
  }
}

const sse = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
