import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { insertSnapshot, moveSnapshot } from '../../lifecycle/move.ts';
import { newSnapshot } from '../../test-support/rows.ts';
import { startTestApi, type TestApi } from '../../test-support/test-api.ts';
import { checkUrl } from '../../webhooks/check-url.ts';
import { claimDeliveries, PER_ORGANIZATION } from '../../webhooks/deliveries.ts';
import { fanOut, MAX_PENDING } from '../../webhooks/fan-out.ts';

let api: TestApi;
let receiver: Server;
let url: string;
let organizationId: string;
let key: string;

interface Received {
  headers: IncomingHttpHeaders;
  body: string;
}
let received: Received[] = [];
let heard = Promise.withResolvers<void>();
/** Statuses of the next answers; 200 when there are no more. */
let answers: number[] = [];

beforeAll(async () => {
  api = await startTestApi();
  receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      response.writeHead(answers.shift() ?? 200, { location: 'http://127.0.0.1:1/' }).end('thanks');
      heard.resolve();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const address = receiver.address();
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/hook?x=1`;
}, 60_000);
afterAll(async () => {
  await api?.stop();
  receiver?.close();
  receiver?.closeAllConnections();
}, 60_000);
beforeEach(async () => {
  await api.db.deleteFrom('webhook_endpoints').execute();
  received = [];
  answers = [];
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const base = '/api/webhooks/endpoints';
const create = (body: object = {}) => api.ask('POST', base, { key, body: { url, ...body } });
const add = (owner = organizationId) =>
  insertSnapshot(api.db, newSnapshot(owner, { state: 'active', layers: ['sha256:a'], image: '{}', size_bytes: 1 }), {
    actor: 'test',
  });

async function arrived(count: number): Promise<Received[]> {
  while (received.length < count) {
    await heard.promise;
    heard = Promise.withResolvers<void>();
  }
  return received;
}

/** What was written down of deliveries, when that is so. */
async function deliveries(
  endpointId: string,
  isThere: (items: { state: string; attempts: number; lastStatus: number | null }[]) => boolean,
) {
  return expect
    .poll(
      async () => {
        const { body } = await api.ask('GET', `${base}/${endpointId}/deliveries`, { key });
        return isThere(body.items) ? body.items : undefined;
      },
      { timeout: 10_000 },
    )
    .toBeDefined()
    .then(async () => (await api.ask('GET', `${base}/${endpointId}/deliveries`, { key })).body.items);
}

/** The scheme as Svix describes it. */
function signs(secret: string, { headers, body }: Received): boolean {
  const signed = `${headers['svix-id']}.${headers['svix-timestamp']}.${body}`;
  const bytes = Buffer.from(secret.replace('whsec_', ''), 'base64');
  const expected = `v1,${createHmac('sha256', bytes).update(signed).digest('base64')}`;
  return String(headers['svix-signature']).split(' ').includes(expected);
}

describe('an endpoint', () => {
  it('gets each event from then on, signed, in the shape of Daytona', async () => {
    await add();
    const { body: endpoint } = await create();
    const snapshot = await add();
    await add(await api.addOrganization());
    await moveSnapshot(api.db, snapshot.id, { from: ['active'], to: 'inactive', actor: 'test' });
    const sent = await arrived(2);
    expect(sent).toHaveLength(2);
    const bodies = sent.map(({ body }) => JSON.parse(body));
    const { id, name } = snapshot;
    expect(bodies.find((body) => body.event === 'snapshot.created')).toEqual({
      ...{ event: 'snapshot.created', id, name, organizationId, state: 'active' },
      timestamp: expect.any(String),
      createdAt: expect.any(String),
    });
    expect(bodies.find((body) => body.event === 'snapshot.state.updated')).toMatchObject({
      ...{ id, name, organizationId, oldState: 'active', newState: 'inactive' },
      updatedAt: expect.any(String),
    });
    expect(sent.every((each) => signs(endpoint.secret, each))).toBe(true);
  });

  it('gets only the types that it asked for', async () => {
    await create({ eventTypes: ['snapshot.removed'] });
    const { id } = await add();
    await moveSnapshot(api.db, id, { from: ['active'], to: 'removing', actor: 'test' });
    await moveSnapshot(api.db, id, { from: ['removing'], to: 'gone', actor: 'test' });
    const [sent] = await arrived(1);
    expect(JSON.parse(sent?.body ?? '')).toMatchObject({
      event: 'snapshot.removed',
      id,
      removedAt: expect.any(String),
    });
  });

  it('is asked again after a failure, with the same id, and a redirect is one', async () => {
    answers = [302];
    const { body: endpoint } = await create();
    await add();
    await arrived(1);
    const [failed] = await deliveries(endpoint.id, ([item]) => item?.lastStatus === 302);
    expect(failed).toMatchObject({ lastStatus: 302, lastError: 'It answered 302', nextAttemptAt: expect.any(String) });
    await api.db.updateTable('webhook_deliveries').set({ next_attempt_at: new Date() }).execute();
    await api.ask('PATCH', `${base}/${endpoint.id}`, { key, body: { description: 'now' } });
    const sent = await arrived(2);
    expect(sent[1]?.headers['svix-id']).toBe(sent[0]?.headers['svix-id']);
    expect(await deliveries(endpoint.id, ([item]) => item?.state === 'delivered')).toMatchObject([
      { attempts: 2, lastStatus: 200, lastError: null, nextAttemptAt: null, messageId: sent[0]?.headers['svix-id'] },
    ]);
  });

  it('can have a delivery again', async () => {
    const { body: endpoint } = await create();
    await add();
    await arrived(1);
    const [delivery] = await deliveries(endpoint.id, ([item]) => item?.state === 'delivered');
    const path = `${base}/${endpoint.id}/deliveries/${delivery.id}/replay`;
    expect((await api.ask('POST', path, { key })).status).toBe(200);
    const sent = await arrived(2);
    expect(sent[1]?.body).toBe(sent[0]?.body);
    expect((await api.ask('POST', `${base}/${endpoint.id}/deliveries/none/replay`, { key })).status).toBe(404);
  });

  it('is signed for with the old secret, too, for a while after a rotation', async () => {
    const { body: endpoint } = await create();
    const { body: rotated } = await api.ask('POST', `${base}/${endpoint.id}/rotate-secret`, { key });
    await add();
    const [sent] = await arrived(1);
    expect(sent !== undefined && signs(endpoint.secret, sent) && signs(rotated.secret, sent)).toBe(true);
  });

  it('misses what happens while it is switched off, and is forgotten when deleted', async () => {
    const { body: endpoint } = await create({ enabled: false });
    await add();
    await api.ask('PATCH', `${base}/${endpoint.id}`, { key, body: { enabled: true } });
    const { id } = await add();
    const [sent] = await arrived(1);
    expect(JSON.parse(sent?.body ?? '').id).toBe(id);
    expect((await api.ask('DELETE', `${base}/${endpoint.id}`, { key })).status).toBe(204);
    expect((await api.ask('GET', `${base}/${endpoint.id}`, { key })).status).toBe(404);
    expect((await api.ask('GET', base, { key })).body).toEqual([]);
  });

  it('is switched off when all attempts of days have failed, says so, and can be switched on again', async () => {
    answers = Array(100).fill(500);
    const { body: endpoint } = await create();
    expect(endpoint).toMatchObject({ enabled: true, disabledAt: null, disabledReason: null });
    const path = `${base}/${endpoint.id}`;
    const failing = (days: number) =>
      api.db
        .updateTable('webhook_endpoints')
        .set({ failing_since: new Date(Date.now() - days * 24 * 3600_000) })
        .execute();
    await add();
    await deliveries(endpoint.id, ([item]) => item?.lastStatus === 500);
    await failing(6);
    await add();
    await deliveries(endpoint.id, (items) => items.filter((item) => item.lastStatus === 500).length === 2);
    // Two attempts in six days say little.
    expect((await api.ask('GET', path, { key })).body).toMatchObject({ enabled: true });
    await api.db.updateTable('webhook_deliveries').set({ attempts: 5 }).execute();
    await add();
    await expect
      .poll(async () => (await api.ask('GET', path, { key })).body)
      .toMatchObject({
        ...{ enabled: false, disabledAt: expect.any(String), disabledReason: expect.stringContaining('5 days') },
      });
    answers = [];
    const again = await api.ask('PATCH', path, { key, body: { enabled: true } });
    expect(again.body).toMatchObject({ enabled: true, disabledAt: null, disabledReason: null });
    await add();
    await deliveries(endpoint.id, (items) => items.some((item) => item.state === 'delivered'));
  });

  it('keeps the oldest ten thousand that wait for it', async () => {
    const { body: endpoint } = await create({ enabled: false });
    await sql`insert into webhook_deliveries (endpoint_id, event_type, payload, next_attempt_at)
      select ${endpoint.id}::uuid, 'x', '{}', now() + interval '1 day' from generate_series(1, ${MAX_PENDING - 1})`.execute(
      api.db,
    );
    await add();
    await add();
    // From the first event on, all of which found it switched off.
    await api.db
      .updateTable('webhook_endpoints')
      .set({ enabled: true, cursor_txid: 0, cursor_id: 0 })
      .where('id', '=', endpoint.id)
      .execute();
    const waiting = async () => {
      // The server does that, too, and who comes second finds nothing.
      await fanOut(api.db, endpoint.id, () => {});
      const { body } = await api.ask('GET', `${base}/${endpoint.id}/deliveries`, { key });
      return body.items.filter((item: { eventType: string }) => item.eventType !== 'x').length;
    };
    await expect.poll(waiting).toBe(1);
    await add();
    expect(await waiting()).toBe(1);
  });

  it('shows its secret once, and is of its organization alone', async () => {
    const { body: endpoint } = await create();
    expect((await api.ask('GET', base, { key })).text).not.toContain('whsec_');
    const other = await api.addKey(await api.addOrganization());
    expect((await api.ask('GET', `${base}/${endpoint.id}`, { key: other })).status).toBe(404);
    const weak = await api.addKey(organizationId, { permissions: ['write:snapshots'] });
    expect((await api.ask('GET', base, { key: weak })).status).toBe(403);
  });

  it('is one of twenty at most', async () => {
    for (let n = 0; n < 20; n++) expect((await create()).status).toBe(200);
    expect((await create()).status).toBe(400);
  });
});

it('leaves places to other organizations, however much of one waits', async () => {
  const quiet = await api.addOrganization();
  const undo = new Error('undo');
  const claims = api.db.transaction().execute(async (trx) => {
    const owners = [organizationId, organizationId, organizationId, quiet];
    for (const [index, owner] of owners.entries()) {
      const { id } = await trx
        .insertInto('webhook_endpoints')
        .values({ organization_id: owner, url, secret: Buffer.alloc(0), cursor_txid: 0, cursor_id: 0 })
        .returning('id')
        .executeTakeFirstOrThrow();
      const due = { endpoint_id: id, event_type: 'x', payload: '{}', next_attempt_at: new Date(index) };
      await trx.insertInto('webhook_deliveries').values(Array(4).fill(due)).execute();
    }
    const none = { endpoints: [], organizations: [] };
    const first = await claimDeliveries(trx, none, PER_ORGANIZATION + 2);
    const second = await claimDeliveries(trx, { ...none, organizations: [organizationId] }, 100);
    throw Object.assign(undo, { claimed: [first, second].map((rows) => rows.map((row) => row.organization_id)) });
  });
  await expect(claims).rejects.toMatchObject({
    claimed: [
      [...Array(PER_ORGANIZATION).fill(organizationId), quiet, quiet],
      [quiet, quiet],
    ],
  });
});

describe('what clients ask about Svix', () => {
  const ask = (method: 'GET' | 'POST', path: string, id = organizationId) =>
    api.ask(method, `/api/webhooks/organizations/${id}/${path}`, { key });

  it('is answered, and the portal is refused with where to go', async () => {
    expect((await ask('GET', 'initialization-status')).body).toMatchObject({ organizationId, lastError: null });
    expect((await ask('POST', 'initialize')).status).toBe(201);
    expect((await ask('POST', 'refresh-endpoints')).status).toBe(204);
    const portal = await ask('POST', 'app-portal-access');
    expect(portal.status).toBe(400);
    expect(portal.body.message).toContain('/api/webhooks/endpoints');
    expect((await ask('GET', 'initialization-status', await api.addOrganization())).status).toBe(404);
  });
});

describe('a URL', () => {
  it('is https and leads to a public address, unless the operator allows others', () => {
    for (const bad of [
      'nonsense',
      'ftp://example.com',
      'http://example.com',
      'https://127.0.0.1/',
      'https://10.1.2.3',
      'https://[::1]/',
      'https://0x7f000001/',
      'https://[::ffff:10.0.0.1]/',
      'https://user:secret@example.com',
    ]) {
      expect(() => checkUrl(bad, false), bad).toThrow();
    }
    expect(() => checkUrl('https://example.com/hook', false)).not.toThrow();
    expect(() => checkUrl('http://127.0.0.1/', true)).not.toThrow();
    expect(() => checkUrl('http://169.254.169.254/', true)).toThrow();
  });
});
