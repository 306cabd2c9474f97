import { io, type Socket } from 'socket.io-client';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { insertSandbox, insertSnapshot, moveSandbox, moveSnapshot } from '../../../lifecycle/move.ts';
import { newSandbox, newSnapshot } from '../../../test-support/rows.ts';
import { startTestApi, type TestApi } from '../../../test-support/test-api.ts';

let api: TestApi;
let url: string;
let organizationId: string;
let key: string;
const sockets: Socket[] = [];
beforeAll(async () => {
  api = await startTestApi();
  url = await api.app.listen({ port: 0, host: '127.0.0.1' });
}, 60_000);
afterAll(() => api?.stop(), 60_000);
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.disconnect();
});

/** As the SDKs connect. */
function connect(token: string, query: Record<string, string> = {}) {
  const socket = io(url, {
    path: '/api/socket.io/',
    transports: ['websocket'],
    reconnection: false,
    query: { source: 'sdk-typescript', sdkVersion: '0.216.0', ...query },
    auth: { token },
  });
  sockets.push(socket);
  // biome-ignore lint/suspicious/noExplicitAny: tests read what the wire has
  const heard: { name: string; data: any }[] = [];
  let more = Promise.withResolvers<void>();
  socket.onAny((name: string, data: unknown) => {
    heard.push({ name, data });
    more.resolve();
  });
  return {
    socket,
    connected: new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('connect_error', reject);
    }),
    async until(name: string) {
      while (!heard.some((event) => event.name === name)) {
        await more.promise;
        more = Promise.withResolvers<void>();
      }
      return heard;
    },
  };
}

it('tells the SDKs of sandboxes and snapshots of their organization, in order', async () => {
  const client = connect(key);
  await client.connected;
  await insertSandbox(api.db, newSandbox(await api.addOrganization()), { actor: 'test' });
  const sandbox = await insertSandbox(api.db, newSandbox(organizationId), { actor: 'test' });
  await moveSandbox(api.db, sandbox.id, { from: ['creating'], to: 'started', actor: 'test' });
  const snapshot = await insertSnapshot(api.db, newSnapshot(organizationId), { actor: 'test' });
  await moveSnapshot(api.db, snapshot.id, { from: ['pending'], to: 'removing', actor: 'test' });
  await moveSnapshot(api.db, snapshot.id, { from: ['removing'], to: 'gone', actor: 'test' });
  const events = await client.until('snapshot.removed');
  expect(events[0]).toMatchObject({ name: 'sandbox.created', data: { id: sandbox.id, organizationId } });
  expect(events[1]).toMatchObject({
    name: 'sandbox.state.updated',
    data: { sandbox: { id: sandbox.id, state: 'started' }, oldState: 'creating', newState: 'started' },
  });
  expect(events.at(-1)).toMatchObject({ name: 'snapshot.removed', data: { id: snapshot.id } });
});

it('refuses a bad token, no token, and another organization', async () => {
  await expect(connect('dtn_nonsense').connected).rejects.toThrow('Invalid credentials');
  await expect(connect(key, { organizationId: await api.addOrganization() }).connected).rejects.toThrow(
    'does not belong',
  );
  await connect(key, { organizationId }).connected;
});

it('ends a client that says what it does not understand', async () => {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/socket.io/?EIO=4&transport=websocket`);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.once('message', () => socket.send('x'.repeat(20_000)));
  expect(await closed).toBe(1008);
});

it('is not there for other transports', async () => {
  expect((await api.ask('GET', '/api/socket.io/?EIO=4&transport=polling', { key })).status).toBe(404);
});

it('has a bounded number of places for those who have not shown a key', async () => {
  const target = `${url.replace('http', 'ws')}/api/socket.io/?EIO=4&transport=websocket`;
  const opened = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const socket = new WebSocket(target);
      await new Promise((resolve) => socket.once('message', resolve));
      return socket;
    }),
  );
  const late = new WebSocket(target);
  expect(await new Promise((resolve) => late.once('close', resolve))).toBe(1013);
  await Promise.all(
    opened.map((socket) => {
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.close();
      return closed;
    }),
  );
  await expect.poll(() => connect(key).connected.then(() => true)).toBe(true);
});
