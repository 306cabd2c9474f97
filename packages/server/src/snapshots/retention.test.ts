import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { insertSnapshot, moveSnapshot, type NewSnapshot } from '../lifecycle/move.ts';
import { findForCreate } from '../sandboxes/find-for-create.ts';
import { newSnapshot } from '../test-support/rows.ts';
import { startTestApi, type TestApi } from '../test-support/test-api.ts';
import { deactivateUnused, endExpired, startRetention } from './retention.ts';

let api: TestApi;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
}, 60_000);
afterAll(() => api?.stop(), 60_000);
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const log = { info() {}, error() {} };
const deps = () => ({ db: api.db, jobs: api.jobs, log });
const daysAgo = (days: number) => new Date(Date.now() - days * 24 * 60 * 60 * 1000);
const add = (values: Partial<NewSnapshot> = {}) =>
  insertSnapshot(
    api.db,
    newSnapshot(organizationId, {
      ...{ state: 'active', layers: [], image: '{}', size_bytes: 1, created_at: daysAgo(30) },
      ...values,
    }),
    { actor: 'test' },
  );
const stateOf = async (id: string) =>
  (await api.db.selectFrom('snapshots').select('state').where('id', '=', id).executeTakeFirst())?.state;
const patch = (id: string, body: object, as = key) => api.ask('PATCH', `/api/snapshots/${id}`, { key: as, body });

describe('what nobody uses', () => {
  it('becomes inactive after the time of its organization, with a reason', async () => {
    const { id } = await add();
    const used = await add({ last_used_at: daysAgo(13) });
    const young = await add({ created_at: daysAgo(13) });
    expect(await deactivateUnused(deps())).toBe(1);
    expect([await stateOf(id), await stateOf(used.id), await stateOf(young.id)]).toEqual([
      'inactive',
      'active',
      'active',
    ]);
    const { body } = await api.ask('GET', `/api/snapshots/${id}/events`, { key });
    expect(body.items.at(-1)).toMatchObject({ actor: 'system:retention', reason: 'Not used for 14 days' });
  });

  it('stays when it is retained or general, when the same image is in use, and when the time is off', async () => {
    const rows = [
      await add({ retain: true }),
      await add({ general: true }),
      await add({ ref: 'alpine@sha256:1' }),
      await add({ ref: 'alpine@sha256:1', last_used_at: daysAgo(1) }),
    ];
    expect(await deactivateUnused(deps())).toBe(0);
    expect(new Set(await Promise.all(rows.map(({ id }) => stateOf(id))))).toEqual(new Set(['active']));
    await add();
    const off = { snapshotDeactivationTimeoutMinutes: 0 };
    expect((await api.ask('PATCH', `/api/organizations/${organizationId}`, { key, body: off })).body).toMatchObject(
      off,
    );
    expect(await deactivateUnused(deps())).toBe(0);
  });
});

describe('a lock', () => {
  it('is shown, keeps a snapshot from being deleted with the reason, and can be taken away', async () => {
    const { id, name } = await add();
    const { status, body } = await patch(name, { retain: true, retainReason: 'release 4' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ id, retain: true, retainReason: 'release 4' });
    expect((await api.ask('GET', `/api/snapshots/${id}`, { key })).body).toEqual(body);
    const refused = await api.ask('DELETE', `/api/snapshots/${id}`, { key });
    expect(refused.status).toBe(409);
    expect(refused.body.message).toContain(`Snapshot ${name} is retained: release 4`);
    const freed = await patch(id, { retain: false });
    expect(freed.body.retain).toBeUndefined();
    expect(freed.body.retainReason).toBeUndefined();
    expect((await api.ask('DELETE', `/api/snapshots/${id}`, { key })).status).toBe(200);
    expect((await patch(id, { retain: true })).status).toBe(404);
  });

  it('is for keys that may delete, and for own snapshots', async () => {
    const { id } = await add();
    const weak = await api.addKey(organizationId, { permissions: ['write:snapshots'] });
    expect((await patch(id, { retain: true }, weak)).status).toBe(403);
    expect((await patch(id, { retain: true }, await api.addKey(await api.addOrganization()))).status).toBe(404);
  });
});

describe('an expiry', () => {
  it('is shown, must be in the future, and can be taken away', async () => {
    const { id } = await add();
    const expiresAt = '2100-01-01T00:00:00.000Z';
    expect((await patch(id, { expiresAt })).body.expiresAt).toBe(expiresAt);
    expect((await api.ask('GET', `/api/snapshots/${id}`, { key })).body.expiresAt).toBe(expiresAt);
    expect((await patch(id, { expiresAt: '2001-01-01T00:00:00Z' })).status).toBe(400);
    expect((await patch(id, { expiresAt: 'tomorrow' })).status).toBe(400);
    expect((await patch(id, { expiresAt: null })).body.expiresAt).toBeUndefined();
  });

  it('deletes a snapshot by itself, unless it is retained', async () => {
    const kept = await add({ expires_at: daysAgo(1), retain: true });
    const { id } = await add({ expires_at: daysAgo(1) });
    const later = await add({ created_at: new Date(), expires_at: new Date(Date.now() + 3_600_000) });
    const retention = startRetention(deps());
    await expect.poll(() => stateOf(id)).toBe('removing');
    await retention.close();
    expect(await endExpired(deps())).toBe(0);
    expect([await stateOf(kept.id), await stateOf(later.id)]).toEqual(['active', 'active']);
  });
});

it('says of an inactive snapshot whether the organization wants it activated for a sandbox', async () => {
  const { id } = await add();
  await moveSnapshot(api.db, id, { from: ['active'], to: 'inactive', actor: 'test' });
  expect((await findForCreate(api.db, organizationId, id, undefined)).activatesOnUse).toBe(false);
  const path = `/api/organizations/${organizationId}`;
  const { body } = await api.ask('PATCH', path, { key, body: { activateSnapshotsOnUse: true } });
  expect(body.activateSnapshotsOnUse).toBe(true);
  expect((await findForCreate(api.db, organizationId, id, undefined)).activatesOnUse).toBe(true);
});

it('is in the description of the API', async () => {
  const { body } = await api.ask('GET', '/openapi.json', { key: null });
  expect(Object.keys(body.paths)).toEqual(
    expect.arrayContaining(['/api/snapshots/{id}', '/api/events', '/api/webhooks/endpoints']),
  );
});
