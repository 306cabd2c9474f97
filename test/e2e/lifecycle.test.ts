import type { LifecycleEventDto } from '@darkroom/contract';
import { Daytona, DaytonaConflictError, type Snapshot } from '@daytona/sdk';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { inDatabaseOf } from '../support/database-of.ts';
import { type EventFollower, followEvents } from '../support/event-stream.ts';
import { eventually } from '../support/eventually.ts';
import { type StaleProxy, startStaleProxy } from '../support/stale-proxy.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.ts';

/**
 * What a server tells of its snapshots and sandboxes, and what time does to them, as the official client and other programs see it; with
 * a kill -9 in the middle. The tests follow each other.
 */
let darkroom: Darkroom;
let proxy: StaleProxy;
let receiver: WebhookReceiver;
let follower: EventFollower;
let daytona: Daytona;
let endpoint: { id: string; secret: string };

beforeAll(async () => {
  const registries = { mirrors: { 'docker.io': [inject('registryUrl')] } };
  darkroom = await startDarkroom({ config: { registries, webhooks: { allowInternal: true } } });
  [proxy, receiver, follower] = await Promise.all([
    startStaleProxy(darkroom.url),
    startWebhookReceiver(),
    followEvents(darkroom),
  ]);
  endpoint = await post('/webhooks/endpoints', { url: receiver.url });
  daytona = new Daytona({ apiKey: darkroom.apiKey, apiUrl: `${proxy.url}/api` });
  await daytona.snapshot.create({ name: 'base', image: inject('baseImage') });
});
afterAll(async () => {
  await daytona?.[Symbol.asyncDispose]();
  await follower?.close();
  await proxy?.close();
  await darkroom?.destroy();
  await receiver?.close();
});

async function ask<T>(method: string, path: string, body?: object): Promise<T> {
  const answer = await darkroom.api(path, { method, ...(body === undefined ? {} : { body }) });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  const text = await answer.text();
  return JSON.parse(text === '' ? 'null' : text);
}
/** Of a registry that answers at once that it has no such image. */
const missing = (tag: number) => `${new URL(inject('registryUrl')).host}/library/no-such-image:${tag}`;
const post = <T>(path: string, body: object = {}) => ask<T>('POST', path, body);

test('the newest SDK waits for a sandbox by the event channel, also after the server was killed and came back', async () => {
  const sandbox = await daytona.create({ snapshot: 'base' });
  await sandbox.refreshData();
  await proxy.channelOpened(1);
  // From here on the SDK sees the sandbox as started, however often it asks.
  proxy.freeze(`/api/sandbox/${sandbox.id}`);
  await post(`/sandbox/${sandbox.id}/stop`);
  await sandbox.waitUntilStopped(30);
  expect(sandbox.state).toBe('stopped');

  proxy.thaw();
  await sandbox.refreshData();
  const before = proxy.channelsOpened();
  await darkroom.kill();
  await darkroom.restart();
  await proxy.channelOpened(before + 1);
  proxy.freeze(`/api/sandbox/${sandbox.id}`);
  await post(`/sandbox/${sandbox.id}/start`);
  await sandbox.waitUntilStarted(30);
  expect(sandbox.state).toBe('started');
  // Who asks is told the old state: nothing but an event can have said it.
  expect((await daytona.get(sandbox.id)).state).toBe('stopped');
  proxy.thaw();
  await sandbox.delete();
});

test('each event says who, when and why, of one snapshot and of all', async () => {
  const failed = await post<{ id: string }>('/snapshots', { name: 'failed', imageName: missing(1) });
  const last = await follower.until(({ subjectId, newState }) => subjectId === failed.id && newState === 'error');
  expect(last).toMatchObject({ subjectName: 'failed', reason: expect.stringContaining('no-such-image') });
  const { items } = await ask<{ items: LifecycleEventDto[] }>('GET', `/snapshots/${failed.id}/events`);
  expect(items[0]).toMatchObject({ oldState: null, newState: 'pending', actor: expect.stringMatching(/^key:/) });
  expect(items.at(-1)).toEqual(last);
  for (const { timestamp } of items) expect(Math.abs(Date.now() - Date.parse(timestamp))).toBeLessThan(120_000);
});

test('nothing is missed and nothing comes twice when the server is killed in the middle', async () => {
  const { id } = await ask<{ id: string }>('GET', '/snapshots/base');
  const toggling = (async () => {
    for (let n = 0; n < 200; n++) {
      await post(`/snapshots/${id}/deactivate`);
      await post(`/snapshots/${id}/activate`);
    }
  })().catch(() => {});
  const before = follower.events.length;
  await follower.until(() => follower.events.length >= before + 10);
  await darkroom.kill();
  await toggling;
  await darkroom.restart();
  await post('/snapshots', { name: 'afterwards', imageName: missing(2) });
  await follower.until(({ subjectName, newState }) => subjectName === 'afterwards' && newState === 'error');
  const written = await allEvents();
  const fromFirst = written.slice(written.findIndex((event) => event.id === follower.events[0]?.id));
  expect(follower.events).toEqual(fromFirst);
  expect(follower.connections).toBeGreaterThanOrEqual(3);
  await eventually('base is active', async () =>
    (await ask<{ state: string }>('GET', '/snapshots/base')).state === 'active'
      ? true
      : await post(`/snapshots/${id}/activate`).then(
          () => undefined,
          () => undefined,
        ),
  );
});

async function allEvents(): Promise<LifecycleEventDto[]> {
  const all: LifecycleEventDto[] = [];
  for (let after: string | undefined; ; ) {
    const page = await ask<{ items: LifecycleEventDto[]; next?: string }>(
      'GET',
      `/events?limit=100${after === undefined ? '' : `&after=${after}`}`,
    );
    all.push(...page.items);
    if (page.next === undefined) return all;
    after = page.next;
  }
}

test('webhooks are signed, tried again after failures and a kill of the server, and sent again when asked to', async () => {
  const verified = ({ body, headers }: { body: string; headers: Record<string, string> }) =>
    new Webhook(endpoint.secret).verify(body, headers);
  const created = await receiver.until(({ body }) => body.includes('"snapshot.created"') && body.includes('"base"'));
  expect(verified(created)).toMatchObject({ event: 'snapshot.created', name: 'base', state: 'pending' });

  receiver.answer(500);
  const { id } = await post<{ id: string }>('/snapshots', { name: 'hooked', imageName: missing(3) });
  const refused = await receiver.until(({ body, status }) => status === 500 && body.includes(id));
  await eventually('the failure is noted', async () =>
    (await deliveries()).some(({ messageId, lastStatus }) => messageId === refused.id && lastStatus === 500)
      ? true
      : undefined,
  );
  await darkroom.kill();
  receiver.answer(200);
  await darkroom.restart();
  const again = await receiver.until((sent) => sent.status === 200 && sent.id === refused.id);
  expect(again.body).toBe(refused.body);
  expect(verified(again)).toMatchObject({ id });

  const delivery = await eventually('the delivery is noted', async () =>
    (await deliveries()).find(({ messageId, state }) => messageId === refused.id && state === 'delivered'),
  );
  expect(delivery.attempts).toBeGreaterThanOrEqual(2);
  const seen = receiver.received.length;
  await post(`/webhooks/endpoints/${endpoint.id}/deliveries/${delivery.id}/replay`);
  await receiver.until(
    (sent) => sent.id === refused.id && receiver.received.indexOf(sent) >= 0 && receiver.received.length > seen,
  );
});

interface Delivery {
  id: string;
  messageId: string;
  state: string;
  attempts: number;
  lastStatus: number | null;
}
const deliveries = async () =>
  (await ask<{ items: Delivery[] }>('GET', `/webhooks/endpoints/${endpoint.id}/deliveries?limit=200`)).items;

test('time makes unused snapshots inactive and deletes expired ones, and a lock keeps both away', async () => {
  for (const name of ['unused', 'locked', 'expiring'])
    await daytona.snapshot.create({ name, image: inject('baseImage') });
  const organization = `/organizations/${darkroom.organizationId}`;
  await ask('PATCH', organization, { snapshotDeactivationTimeoutMinutes: 60 });
  await ask('PATCH', '/snapshots/locked', { retain: true, retainReason: 'release 4' });
  await ask('PATCH', '/snapshots/expiring', { expiresAt: new Date(Date.now() + 500).toISOString() });
  await inDatabaseOf(
    darkroom,
    `update snapshots set created_at = now() - interval '2 hours', last_used_at = null, ref = ref || id
     where organization_id = $1 and name in ('unused', 'locked')`,
    [darkroom.organizationId],
  );
  // It is looked at the start, and every ten minutes.
  await darkroom.restart();
  const unused = await eventually('unused is inactive', async () => {
    const snapshot = await daytona.snapshot.get('unused');
    return snapshot.state === 'inactive' ? snapshot : undefined;
  });
  const { items } = await ask<{ items: LifecycleEventDto[] }>('GET', '/snapshots/unused/events');
  expect(items.at(-1)).toMatchObject({ actor: 'system:retention', reason: 'Not used for 60 minutes' });
  const gone = await follower.until(
    ({ subjectName, newState }) => subjectName === 'expiring' && newState === 'removing',
  );
  expect(gone).toMatchObject({ actor: 'system:retention', reason: 'It expired' });

  await expect(daytona.create({ snapshot: 'unused' })).rejects.toThrow('Snapshot unused is inactive');
  expect((await activate(unused)).state).toBe('active');
  await ask('POST', '/snapshots/unused/deactivate');
  await ask('PATCH', organization, { activateSnapshotsOnUse: true });
  const sandbox = await daytona.create({ snapshot: 'unused' });
  await sandbox.delete();

  const locked = await daytona.snapshot.get('locked');
  expect(locked.state).toBe('active');
  const refusal = await daytona.snapshot.delete(locked).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(DaytonaConflictError);
  expect(String(refusal)).toContain('Snapshot locked is retained: release 4');
  await ask('PATCH', '/snapshots/locked', { retain: false });
  await daytona.snapshot.delete(locked);
});

/** At once: its layers are still there. */
async function activate(snapshot: Snapshot): Promise<Snapshot> {
  return daytona.snapshot.activate(snapshot);
}

test('every request that would change something is in the audit log, refused ones too', async () => {
  const document = await jsonOf<{ paths: Record<string, Record<string, { parameters?: { name: string }[] }>> }>(
    fetch(`${darkroom.url}/openapi.json`),
  );
  const started = new Date().toISOString();
  const sent: { method: string; path: string; status: number }[] = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    if (!path.startsWith('/api/') || QUIET.has(path) || TOO_MUCH.has(path)) continue;
    for (const method of Object.keys(methods).map((name) => name.toUpperCase())) {
      if (method === 'GET' || method === 'HEAD') continue;
      const url = path.slice('/api'.length).replaceAll(/\{[^}]+\}/g, 'nothing');
      const { status } = await darkroom.api(url, { method, body: {}, headers: { 'user-agent': PROBE } });
      sent.push({ method, path, status });
    }
  }
  expect(sent.length).toBeGreaterThan(25);
  const items = await eventually('all are written', async () => {
    const page = await ask<{
      items: { action: string; statusCode: number; errorMessage?: string; userAgent?: string; createdAt: string }[];
    }>('GET', `/audit/organizations/${darkroom.organizationId}?limit=200&from=${started}`);
    const own = page.items.filter(({ userAgent }) => userAgent === PROBE);
    return own.length >= sent.length ? own : undefined;
  });
  // Those that were answered at the same moment may stand in any order.
  expect(items.map(({ statusCode }) => statusCode).sort()).toEqual(sent.map(({ status }) => status).sort());
  for (const item of items) {
    expect(item.action).toMatch(/^[a-z_]+$/);
    if (item.statusCode >= 400) expect(item.errorMessage).toBeTypeOf('string');
  }
});

const PROBE = 'darkroom-audit-probe';
/** Change nothing. */
const QUIET = new Set([
  '/api/sandbox/{sandboxIdOrName}/last-activity',
  '/api/webhooks/organizations/{id}/refresh-endpoints',
]);
/** Would do something even when asked for nothing in particular. */
const TOO_MUCH = new Set(['/api/sandbox', '/api/admin/gc', '/api/admin/fsck']);
