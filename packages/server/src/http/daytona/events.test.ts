import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { insertSandbox, insertSnapshot, moveSnapshot } from '../../lifecycle/move.ts';
import { newSandbox, newSnapshot } from '../../test-support/rows.ts';
import { startTestApi, type TestApi } from '../../test-support/test-api.ts';

let api: TestApi;
let url: string;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
  url = await api.app.listen({ port: 0, host: '127.0.0.1' });
}, 60_000);
afterAll(() => api?.stop());
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const COMPLETE = { layers: ['sha256:a'], image: '{}', size_bytes: 1 };
const add = (owner = organizationId) =>
  insertSnapshot(api.db, newSnapshot(owner, { state: 'active', ...COMPLETE }), { actor: 'test' });
const deactivate = (id: string, db = api.db) =>
  moveSnapshot(db, id, { from: ['active'], to: 'inactive', actor: 'test', reason: 'because' });

interface Sent {
  id: string;
  event: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what the wire has
  data: any;
}

/** Server-sent events, one at a time. */
async function stream(headers: Record<string, string> = {}) {
  const leave = new AbortController();
  const response = await fetch(`${url}/api/events`, {
    headers: { authorization: `Bearer ${key}`, accept: 'text/event-stream', ...headers },
    signal: leave.signal,
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  return {
    leave: () => leave.abort(),
    async next(): Promise<Sent> {
      for (;;) {
        const end = text.indexOf('\n\n');
        if (end >= 0) {
          const block = text.slice(0, end);
          text = text.slice(end + 2);
          const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)));
          if (fields.event !== undefined) return { id: fields.id, event: fields.event, data: JSON.parse(fields.data) };
          continue;
        }
        const { value, done } = (await reader?.read()) ?? { done: true, value: undefined };
        if (done || value === undefined) throw new Error('the stream ended');
        text += value;
      }
    },
  };
}

it('tells who changed a snapshot, when and why, also when it is gone', async () => {
  const { id, name } = await add();
  await deactivate(id);
  const { status, body } = await api.ask('GET', `/api/snapshots/${name}/events`, { key });
  expect(status).toBe(200);
  expect(body.items).toMatchObject([
    { subjectId: id, subjectName: name, oldState: null, newState: 'active', actor: 'test', reason: null },
    { subjectType: 'snapshot', oldState: 'active', newState: 'inactive', reason: 'because', organizationId },
  ]);
  await moveSnapshot(api.db, id, { from: ['inactive'], to: 'removing', actor: 'test' });
  await moveSnapshot(api.db, id, { from: ['removing'], to: 'gone', actor: 'job' });
  const later = await api.ask('GET', `/api/snapshots/${id}/events?after=${body.items[1].id}`, { key });
  expect(later.body.items.map((event: { newState: string }) => event.newState)).toEqual(['removing', 'gone']);
});

it('tells nothing of what belongs to others, and refuses places that are none', async () => {
  const { id } = await add(await api.addOrganization());
  expect((await api.ask('GET', `/api/snapshots/${id}/events`, { key })).status).toBe(404);
  expect((await api.ask('GET', '/api/snapshots/none/events', { key })).status).toBe(404);
  expect((await api.ask('GET', '/api/events', { key })).body).toEqual({ items: [] });
  expect((await api.ask('GET', '/api/events?after=soon', { key })).status).toBe(400);
});

it('lists events page by page', async () => {
  for (let n = 0; n < 3; n++) await add();
  const first = await api.ask('GET', '/api/events?limit=2', { key });
  expect(first.body.items).toHaveLength(2);
  const second = await api.ask('GET', `/api/events?limit=2&after=${first.body.next}`, { key });
  expect(second.body.items).toHaveLength(1);
  expect(second.body.next).toBeUndefined();
});

it('streams events as they come, and goes on behind the last that a client saw', async () => {
  await add();
  const first = await stream();
  expect((await first.next()).event).toBe('open');
  const { id } = await add();
  const created = await first.next();
  expect(created).toMatchObject({ event: 'snapshot.created', data: { subjectId: id, newState: 'active' } });
  first.leave();
  await add(await api.addOrganization());
  await deactivate(id);
  const second = await stream({ 'last-event-id': created.id });
  expect((await second.next()).event).toBe('open');
  expect(await second.next()).toMatchObject({
    event: 'snapshot.state.updated',
    data: { subjectId: id, oldState: 'active', newState: 'inactive' },
  });
  second.leave();
});

it('passes over no event whose transaction ended after that of a later one', async () => {
  const slow = await add();
  const follower = await stream();
  expect((await follower.next()).event).toBe('open');
  const release = Promise.withResolvers<void>();
  const moved = Promise.withResolvers<void>();
  const transaction = api.db.transaction().execute(async (trx) => {
    await deactivate(slow.id, trx);
    moved.resolve();
    await release.promise;
  });
  await moved.promise;
  const quick = await insertSandbox(api.db, newSandbox(organizationId), { actor: 'test' });
  const listed = await api.ask('GET', '/api/events', { key });
  expect(listed.body.items).toHaveLength(1);
  release.resolve();
  await transaction;
  expect((await follower.next()).data.subjectId).toBe(slow.id);
  expect(await follower.next()).toMatchObject({ event: 'sandbox.created', data: { subjectId: quick.id } });
  follower.leave();
});

it('keeps a place of a database that was restored', async () => {
  const before = await add();
  const { rows } = await sql<{ txid: number }>`select pg_current_xact_id()::text::int8 as txid`.execute(api.db);
  const ahead = (rows[0]?.txid ?? 0) + 1_000_000;
  await sql`update events set txid = ${ahead}`.execute(api.db);
  const { settleRestoredEvents } = await import('../../lifecycle/events/settle-restored.ts');
  const hook = { url: 'https://example.com/hook', enabled: false };
  const endpoint = await api.ask('POST', '/api/webhooks/endpoints', { key, body: hook });
  await sql`update webhook_endpoints set cursor_txid = ${ahead + 1}, cursor_id = 0`.execute(api.db);
  const last = await api.db.selectFrom('events').select('id').where('subject_id', '=', before.id).executeTakeFirst();
  expect(await settleRestoredEvents(api.db)).toBe(true);
  expect(await settleRestoredEvents(api.db)).toBe(false);
  expect(
    await api.db.selectFrom('webhook_endpoints').select('cursor_id').where('id', '=', endpoint.body.id).execute(),
  ).toEqual([{ cursor_id: last?.id }]);
  const after = await add();
  const { body } = await api.ask('GET', `/api/events?after=${ahead}-${last?.id}`, { key });
  expect(body.items).toMatchObject([{ subjectId: after.id }]);
});
