import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { insertSnapshot, moveSnapshot, type NewSnapshot, type SnapshotRow } from '../../lifecycle/move.ts';
import { newSnapshot } from '../../test-support/rows.ts';
import { startTestApi, type TestApi } from '../../test-support/test-api.ts';

let api: TestApi;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
}, 60_000);
afterAll(() => api?.stop());
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const COMPLETE = { layers: ['sha256:a'], image: '{}', size_bytes: 1 };
const add = (values: Partial<NewSnapshot> = {}, owner = organizationId): Promise<SnapshotRow> =>
  insertSnapshot(api.db, newSnapshot(owner, { state: 'active', ...COMPLETE, ...values }), { actor: 'test' });
const rest = { error: 'image_unavailable' } as const;
const change = (method: 'POST' | 'DELETE', path: string, as = key) =>
  api.ask(method, `/api/snapshots/${path}`, { key: as });
const stateOf = async (id: string) =>
  (await api.db.selectFrom('snapshots').select('state').where('id', '=', id).executeTakeFirst())?.state;
const inactive = async (values: Partial<NewSnapshot> = {}) => {
  const row = await add(values);
  await moveSnapshot(api.db, row.id, { from: ['active'], to: 'inactive', actor: 'test' });
  return row;
};
const fail = async () => {
  const row = await add({ state: 'pending' });
  await moveSnapshot(api.db, row.id, {
    from: ['pending'],
    to: 'error',
    actor: 'test',
    reason: 'no',
    errorCode: rest.error,
  });
  return row;
};

describe('deleting', () => {
  it('answers 200 with nothing, hides the snapshot and frees its name at once', async () => {
    const { id, name } = await add();
    const { status, text } = await change('DELETE', id);
    expect([status, text]).toEqual([200, '']);
    expect(await stateOf(id)).toBe('removing');
    for (const idOrName of [id, name]) {
      expect((await api.ask('GET', `/api/snapshots/${idOrName}`, { key })).status).toBe(404);
    }
    const again = await api.ask('POST', '/api/snapshots', { key, body: { name, imageName: 'x:1' } });
    expect(again.status).toBe(200);
  });

  it('takes a name, a second time, and a snapshot that is still pending', async () => {
    const { id, name } = await add({ name: 'team/app:1', state: 'pending' });
    expect((await change('DELETE', encodeURIComponent(name))).status).toBe(200);
    expect((await change('DELETE', id)).status).toBe(200);
    expect((await change('DELETE', encodeURIComponent(name))).status).toBe(404);
  });

  it('means the snapshot of that name, also when it is the id of one that is going', async () => {
    const going = await add();
    await change('DELETE', going.id);
    const namesake = await add({ name: going.id });
    expect((await change('DELETE', going.id)).status).toBe(200);
    expect(await stateOf(namesake.id)).toBe('removing');
  });

  it('means the snapshot of that id where another one was given it as a name', async () => {
    const one = await add();
    const namesake = await add({ name: one.id });
    expect((await change('DELETE', one.id)).status).toBe(200);
    expect([await stateOf(one.id), await stateOf(namesake.id)]).toEqual(['removing', 'active']);
  });

  it('leaves the general ones alone, own and of others', async () => {
    const own = await add({ general: true });
    const { status, body } = await change('DELETE', own.id);
    expect([status, body.message]).toEqual([403, 'You cannot delete a general snapshot']);
    const other = await add({ general: true }, await api.addOrganization());
    expect((await change('DELETE', other.id)).body.message).toBe(`Snapshot with ID or name ${other.id} not found`);
  });

  it('is 404 for what is not there', async () => {
    expect((await change('DELETE', crypto.randomUUID())).status).toBe(404);
    expect((await change('DELETE', 'a%00b')).status).toBe(404);
  });
});

describe('deactivating', () => {
  it('answers 204, also a second time', async () => {
    const { id } = await add();
    expect([(await change('POST', `${id}/deactivate`)).status, await stateOf(id)]).toEqual([204, 'inactive']);
    expect((await change('POST', `${id}/deactivate`)).status).toBe(204);
  });

  it('is refused while there is nothing to deactivate', async () => {
    const { id } = await add({ state: 'pending' });
    const { status, body } = await change('POST', `${id}/deactivate`);
    expect([status, body.message]).toEqual([400, `Snapshot ${id} cannot be deactivated - it is in pending state`]);
  });
});

describe('activating', () => {
  it('is done at once when the layers are there', async () => {
    const fill = async () => ({ sizeBytes: 1 });
    await api.layers.add(`sha256:${'b'.repeat(64)}`, fill, AbortSignal.timeout(10_000));
    const { name } = await inactive({ layers: [`sha256:${'b'.repeat(64)}`] });
    const { status, body } = await change('POST', `${name}/activate`);
    expect([status, body.state]).toEqual([200, 'active']);
    expect(Date.parse(body.lastUsedAt)).toBeGreaterThan(0);
  });

  it('pulls again when they are gone', async () => {
    const { id } = await inactive();
    const { status, body } = await change('POST', `${id}/activate`);
    expect([status, body.state]).toEqual([200, 'pending']);
  });

  it('says why it cannot be', async () => {
    const active = await add();
    expect((await change('POST', `${active.id}/activate`)).body.message).toBe(
      `Snapshot ${active.id} is already active`,
    );
    const failed = await fail();
    expect((await change('POST', `${failed.id}/activate`)).body.message).toBe(
      `Snapshot ${failed.id} cannot be activated - it is in error state`,
    );
    expect((await change('POST', `${crypto.randomUUID()}/activate`)).status).toBe(404);
  });

  it('counts against the quota', async () => {
    const { id } = await inactive();
    await api.db.updateTable('organizations').set({ snapshot_quota: 0 }).where('id', '=', organizationId).execute();
    const { status, body } = await change('POST', `${id}/activate`);
    expect([status, body.message]).toEqual([400, 'Snapshot quota exceeded. Maximum allowed: 0']);
    expect(await stateOf(id)).toBe('inactive');
  });

  it('takes an empty body with the content type of a form, and one of JSON', async () => {
    const { id } = await add();
    for (const type of ['application/x-www-form-urlencoded', 'application/json']) {
      const headers = { 'content-type': type };
      const { status } = await api.ask('POST', `/api/snapshots/${id}/deactivate`, { key, headers });
      expect(status).toBe(204);
    }
  });
});

describe('permissions', () => {
  it('are asked before the body is judged', async () => {
    const { id } = await add();
    const reader = await api.addKey(organizationId, { permissions: [] });
    const answers = [
      await api.ask('POST', '/api/snapshots', { key: reader, body: { nonsense: true } }),
      await change('POST', `${id}/activate`, reader),
      await change('POST', `${id}/deactivate`, reader),
      await change('DELETE', id, reader),
      await api.ask('PATCH', `/api/admin/snapshots/${id}/general`, { key, body: { general: true } }),
    ];
    expect(answers.map(({ status, body }) => [status, body.message])).toEqual(Array(5).fill([403, 'Access denied']));
    expect((await api.ask('GET', `/api/snapshots/${id}`, { key: reader })).status).toBe(200);
  });

  it('of an operator make a snapshot general for all', async () => {
    const { id, name } = await add();
    const admin = await api.addKey(await api.addOrganization(), { isAdmin: true });
    const { status, body } = await api.ask('PATCH', `/api/admin/snapshots/${id}/general`, {
      key: admin,
      body: { general: true },
    });
    expect([status, body.general]).toEqual([200, true]);
    expect((await api.ask('GET', `/api/snapshots/${name}`, { key: admin })).body.id).toBe(id);
  });
});

describe('build logs', () => {
  it('are not there for a snapshot that was not built', async () => {
    const { id } = await add();
    const { status, body } = await api.ask('GET', `/api/snapshots/${id}/build-logs-url`, { key });
    expect([status, body.message]).toEqual([404, `Snapshot ${id} has no build info`]);
    expect((await api.ask('GET', `/api/snapshots/${id}/build-logs?follow=true`, { key })).text).toBe('');
  });
});
