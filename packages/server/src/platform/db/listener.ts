import { setTimeout as delay } from 'node:timers/promises';
import { Client, escapeIdentifier } from 'pg';
import type { BaseLogger } from 'pino';
import { messageOf } from '../errors.ts';
import { CONNECT_TIMEOUT_MS, type DatabaseConnection } from './connection.ts';

export interface ListenerChannel {
  onMessage(payload: string): void;
  /** Messages may have been missed: look at what they would have said. */
  onReconnect(): void;
}

/** One dedicated connection that receives NOTIFY messages for everybody in this process, and comes back when it breaks. */
export interface Listener {
  /** Resolves when the database listens. Returns the way to stop. */
  listen(channel: string, subscriber: ListenerChannel): Promise<() => void>;
  close(): Promise<void>;
}

/** A connection whose other side vanished without a word is found out by this. */
const HEARTBEAT_MS = 15_000;
const HEARTBEAT_TIMEOUT_MS = 5_000;
const MAX_BACKOFF_MS = 5_000;

export async function openListener(
  connection: DatabaseConnection,
  log: Pick<BaseLogger, 'warn' | 'info'>,
): Promise<Listener> {
  const channels = new Map<string, Set<ListenerChannel>>();
  const closing = new AbortController();
  let client: Client | undefined;
  let reconnecting: Promise<void> = Promise.resolve();

  async function connect(): Promise<void> {
    const fresh = new Client({
      ...connection,
      application_name: 'darkroom-listener',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: HEARTBEAT_TIMEOUT_MS,
      keepAlive: true,
    });
    fresh.on('notification', ({ channel, payload }) => {
      for (const subscriber of channels.get(channel) ?? []) subscriber.onMessage(payload ?? '');
    });
    // Both fire when a connection breaks; `end` also when the database closes it in good order.
    fresh.on('error', () => lost(fresh));
    fresh.on('end', () => lost(fresh));
    try {
      await fresh.connect();
      // Known before it listens, so that a channel that is added meanwhile is asked for by its own call.
      client = fresh;
      for (const channel of channels.keys()) await fresh.query(`listen ${escapeIdentifier(channel)}`);
    } catch (error) {
      client = undefined;
      await fresh.end().catch(() => {});
      throw error;
    }
  }

  function lost(broken: Client): void {
    if (client !== broken) return;
    client = undefined;
    broken.end().catch(() => {});
    if (closing.signal.aborted) return;
    log.warn('the connection for messages of the database broke; connecting again');
    reconnecting = reconnect().catch(() => {});
  }

  async function reconnect(): Promise<void> {
    for (let attempt = 0; !closing.signal.aborted; attempt++) {
      try {
        await connect();
        log.info('messages of the database arrive again');
        for (const subscribers of channels.values()) for (const subscriber of subscribers) subscriber.onReconnect();
        return;
      } catch (error) {
        if (attempt === 5) log.warn(`messages of the database still do not arrive: ${messageOf(error)}`);
        await delay(Math.min(MAX_BACKOFF_MS, 50 * 2 ** attempt), undefined, { signal: closing.signal });
      }
    }
  }

  await connect();
  const heartbeat = setInterval(() => {
    const asked = client;
    asked?.query('select 1').catch(() => lost(asked));
  }, HEARTBEAT_MS);
  heartbeat.unref();

  return {
    async listen(channel, subscriber) {
      const subscribers = channels.get(channel) ?? new Set();
      channels.set(channel, subscribers.add(subscriber));
      // Without a connection, the next one listens to every channel and tells the subscriber so.
      await client?.query(`listen ${escapeIdentifier(channel)}`);
      return () => subscribers.delete(subscriber);
    },
    async close() {
      closing.abort();
      clearInterval(heartbeat);
      await reconnecting;
      const last = client;
      client = undefined;
      await last?.end().catch(() => {});
    },
  };
}
