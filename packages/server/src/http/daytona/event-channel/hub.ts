import type { Kysely } from 'kysely';
import type { WebSocket } from 'ws';
import { type BuildRow, findBuild } from '../../../builds/records.ts';
import { eventName } from '../../../lifecycle/events/event-name.ts';
import type { Database } from '../../../platform/db/schema.ts';
import type { EventBus, StateChange } from '../../../platform/events.ts';
import { toSandboxDto } from '../sandbox/dto.ts';
import { snapshotDto } from '../snapshot-json.ts';
import { eventMessage } from './protocol.ts';

export interface HubDeps {
  db: Kysely<Database>;
  events: Pick<EventBus, 'subscribe'>;
  log: { warn(details: object, message: string): void };
}

interface Member {
  socket: WebSocket;
  /** How this client reaches the server. */
  publicUrl: string;
}

/** Tells the members of an organization of each change, with the object as it is then. */
export interface Hub {
  join(organizationId: string, member: Member): () => void;
  close(): void;
}

/** A client that takes nothing is let go; it asks for states by itself then. All members together could hold this in memory. */
const MAX_UNREAD_BYTES = 512 * 1024;
/** Changes of an organization that wait to be told; more are not: clients ask now and then all the same. */
const MAX_WAITING = 1_000;
const GOING = 1001;

export function createHub({ db, events, log }: HubDeps): Hub {
  const rooms = new Map<string, { members: Set<Member>; waiting: number; last: Promise<void> }>();

  async function tell(change: StateChange, members: ReadonlySet<Member>): Promise<void> {
    const message = await messageOf(db, change);
    if (message === undefined) return;
    const texts = new Map<string, string>();
    for (const { socket, publicUrl } of members) {
      const text = texts.get(publicUrl) ?? message(publicUrl);
      texts.set(publicUrl, text);
      if (socket.bufferedAmount > MAX_UNREAD_BYTES) socket.terminate();
      else socket.send(text);
    }
  }

  const stop = events.subscribe((change) => {
    const room = rooms.get(change.organizationId);
    if (room === undefined || room.waiting >= MAX_WAITING) return;
    room.waiting++;
    // One after the other, so that clients hear of changes in their order.
    room.last = room.last
      .then(() => tell(change, room.members))
      .catch((error: unknown) => log.warn({ err: error }, 'a change could not be told to those who listen'))
      .finally(() => {
        room.waiting--;
      });
  });

  return {
    join(organizationId, member) {
      const room = rooms.get(organizationId) ?? { members: new Set(), waiting: 0, last: Promise.resolve() };
      rooms.set(organizationId, room);
      room.members.add(member);
      return () => {
        room.members.delete(member);
        if (room.members.size === 0 && rooms.get(organizationId) === room) rooms.delete(organizationId);
      };
    },
    close() {
      stop();
      for (const { members } of rooms.values()) for (const { socket } of members) socket.close(GOING, 'stopping');
      rooms.clear();
    },
  };
}

async function messageOf(
  db: Kysely<Database>,
  change: StateChange,
): Promise<((publicUrl: string) => string) | undefined> {
  const name = eventName(change);
  const { subjectId: id, organizationId, from: oldState, to: newState } = change;
  if (name === 'snapshot.removed') return () => eventMessage(name, { id, organizationId });
  const object = await objectOf(db, change);
  if (object === undefined) return undefined;
  return (publicUrl) => {
    const dto = object(publicUrl);
    return eventMessage(name, oldState === null ? dto : { [change.subjectType]: dto, oldState, newState });
  };
}

async function objectOf(
  db: Kysely<Database>,
  { subjectType, subjectId }: StateChange,
): Promise<((publicUrl: string) => object) | undefined> {
  if (subjectType === 'snapshot') {
    const row = await db.selectFrom('snapshots').selectAll().where('id', '=', subjectId).executeTakeFirst();
    if (row === undefined) return undefined;
    const build = await buildOf(db, row.build_id);
    return () => snapshotDto(row, build);
  }
  const row = await db.selectFrom('sandboxes').selectAll().where('id', '=', subjectId).executeTakeFirst();
  if (row === undefined) return undefined;
  const build = await buildOf(db, row.build_id);
  return (publicUrl) => toSandboxDto(row, publicUrl, build);
}

async function buildOf(db: Kysely<Database>, id: string | null): Promise<BuildRow | undefined> {
  return id === null ? undefined : findBuild(db, id);
}
