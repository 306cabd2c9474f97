import { type LifecycleEventPageDto, lifecycleEventPageSchema, listEventsQuerySchema } from '@darkroom/contract';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import { cursorText, type EventCursor, parseCursor } from '../../lifecycle/events/cursor.ts';
import { eventName } from '../../lifecycle/events/event-name.ts';
import { type FollowDeps, followEvents } from '../../lifecycle/events/follow-events.ts';
import { type LifecycleEvent, latestCursor, readEvents, readHistory } from '../../lifecycle/events/read-events.ts';
import { settledCursor } from '../../lifecycle/events/settle-restored.ts';
import type { Database } from '../../platform/db/schema.ts';
import { DarkroomError, invalidRequest, notFound } from '../../platform/errors.ts';
import { findSandbox } from '../../sandboxes/find.ts';
import { getOwnSnapshot, isUuid } from '../../snapshots/find.ts';
import { keyLives } from '../../tenancy/key-lives.ts';
import { clientGone } from '../client-gone.ts';
import { streamAnswer } from '../stream-answer.ts';
import { wantsEvents } from './build-events.ts';
import { eventDto } from './event-json.ts';

export type EventRouteDeps = FollowDeps;

const FIRST: EventCursor = { txid: 0, id: 0 };
const tags = ['events'];

/** What happened, from the record that is written with each change of a state. */
export function eventRoutes(deps: EventRouteDeps): FastifyPluginAsyncZod {
  const { db } = deps;
  return async (app) => {
    const closing = new AbortController();
    // Followers would keep a server that stops waiting: their streams end then, and they come back.
    app.addHook('preClose', async () => closing.abort(new Error('the server is stopping')));
    app.get(
      '/events',
      {
        // Its body never ends.
        exposeHeadRoute: false,
        schema: {
          tags,
          summary: 'Events of the organization; with Accept: text/event-stream as they come, from Last-Event-ID on',
          querystring: listEventsQuerySchema,
          response: { 200: lifecycleEventPageSchema },
        },
      },
      async (request, reply) => {
        const { organizationId } = request.auth;
        const after = await placeOf(db, request.query.after ?? lastEventId(request));
        if (!wantsEvents(request)) {
          const { limit } = request.query;
          const { events } = await readEvents(db, organizationId, after ?? FIRST, limit);
          return pageOf(events, limit);
        }
        const signal = AbortSignal.any([clientGone(reply), closing.signal]);
        const from = after ?? (await latestCursor(db));
        const events = whileKeyLives(
          db,
          request.auth.keyId,
          followEvents(deps, { organizationId, after: from, signal }),
        );
        return sendEvents(reply, from, events);
      },
    );
    for (const [path, type] of SUBJECTS) {
      app.get(
        `/${path}/:id/events`,
        {
          schema: {
            tags,
            summary: `What happened to a ${type}, by its name or id; by its id also when it is gone`,
            params: z.object({ id: z.string() }),
            querystring: listEventsQuerySchema,
            response: { 200: lifecycleEventPageSchema },
          },
        },
        async ({ auth, params, query }) => {
          const { organizationId } = auth;
          const id = await findSubject(db, organizationId, type, params.id);
          const after = (await placeOf(db, query.after)) ?? FIRST;
          const events = await readHistory(db, { organizationId, type, id }, after, query.limit);
          if (events.length === 0 && after === FIRST) throw subjectNotFound(type, params.id);
          return pageOf(events, query.limit);
        },
      );
    }
  };
}

const SUBJECTS = [
  ['snapshots', 'snapshot'],
  ['sandbox', 'sandbox'],
] as const;

/** The one that has the id or the name now, or the id of what was there. */
async function findSubject(
  db: Kysely<Database>,
  organizationId: string,
  type: 'snapshot' | 'sandbox',
  idOrName: string,
): Promise<string> {
  const find = type === 'snapshot' ? getOwnSnapshot : findSandbox;
  try {
    return (await find(db, organizationId, idOrName)).id;
  } catch (error) {
    if (isUuid(idOrName) && error instanceof DarkroomError && error.code === 'not_found') return idOrName;
    throw error;
  }
}

const subjectNotFound = (type: string, idOrName: string) =>
  notFound(`${type === 'snapshot' ? 'Snapshot' : 'Sandbox'} with ID or name ${idOrName} not found`);

function lastEventId({ headers }: FastifyRequest): string | undefined {
  return headers['last-event-id']?.toString() || undefined;
}

async function placeOf(db: Kysely<Database>, text: string | undefined): Promise<EventCursor | undefined> {
  if (text === undefined) return undefined;
  const cursor = parseCursor(text);
  if (cursor === undefined) throw invalidRequest('after and Last-Event-ID must be the id of an event');
  return settledCursor(db, cursor);
}

function pageOf(events: readonly LifecycleEvent[], limit: number): LifecycleEventPageDto {
  const last = events.at(-1);
  const items = events.map(eventDto);
  return last === undefined || events.length < limit ? { items } : { items, next: cursorText(last.cursor) };
}

async function sendEvents(
  reply: FastifyReply,
  from: EventCursor,
  events: AsyncIterable<LifecycleEvent | undefined>,
): Promise<FastifyReply> {
  await streamAnswer(reply, { 'content-type': 'text/event-stream; charset=utf-8' }, texts(from, events));
  return reply;
}

const KEY_LOOK_MS = 30_000;

/** A stream outlives the look at its key, and a key that was taken away or has expired must not read on. */
async function* whileKeyLives<T>(db: Kysely<Database>, keyId: string, events: AsyncIterable<T>): AsyncGenerator<T> {
  let lookedAt = performance.now();
  for await (const event of events) {
    if (performance.now() - lookedAt >= KEY_LOOK_MS) {
      lookedAt = performance.now();
      if (!(await keyLives(db, keyId))) return;
    }
    yield event;
  }
}

async function* texts(from: EventCursor, events: AsyncIterable<LifecycleEvent | undefined>): AsyncGenerator<string> {
  // Whoever is cut off before the first event comes back to here.
  yield `id: ${cursorText(from)}\nevent: open\ndata: {}\n\n`;
  for await (const event of events) {
    if (event === undefined) yield ': \n\n';
    else
      yield `id: ${cursorText(event.cursor)}\nevent: ${eventName(event)}\ndata: ${JSON.stringify(eventDto(event))}\n\n`;
  }
}
