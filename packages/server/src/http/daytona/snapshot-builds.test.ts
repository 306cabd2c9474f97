import { createHash, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { buildSchema, snapshotSchema } from '@darkroom/contract';
import type { ValidateFunction } from 'ajv/dist/2020.js';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { takeUpSnapshot } from '../../snapshots/recover.ts';
import { loadSnapshotSchema, startTestApi, type TestApi } from '../../test-support/test-api.ts';

/** Builds as the API has them, before anybody works on them. */
let api: TestApi;
let isSnapshot: ValidateFunction;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
  isSnapshot = await loadSnapshotSchema();
}, 60_000);
afterAll(() => api?.stop());
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const DOCKERFILE = 'FROM alpine:3.21\nRUN --mount=type=secret,id=token cat /run/secrets/token\n';
const SECRET = 'correct-horse-battery';
const ask = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) =>
  api.ask(method, `/api/${path}`, { key, ...(body === undefined ? {} : { body }) });
const create = (buildInfo: object, more: object = {}) =>
  ask('POST', 'snapshots', { name: 'built', buildInfo, ...more });
const buildRow = async (snapshotId: string) =>
  api.db.selectFrom('builds').selectAll().where('snapshot_id', '=', snapshotId).executeTakeFirst();

async function upload(hash: string): Promise<void> {
  await api.contexts.put({ organizationId, hash }, { stream: Readable.from([Buffer.alloc(1024)]), size: 1024 });
}

describe('creating a snapshot from a Dockerfile', () => {
  it('answers with `building` at once, and the same as a read does', async () => {
    const hash = 'a'.repeat(32);
    await upload(hash);
    const { status, body } = await create(
      { dockerfileContent: DOCKERFILE, contextHashes: [hash] },
      { cpu: 2, memory: 2 },
    );
    expect([status, body.state]).toEqual([200, 'building']);
    expect(isSnapshot(body), JSON.stringify(isSnapshot.errors)).toBe(true);
    expect(snapshotSchema.parse(body)).toEqual(body);
    const digest = createHash('sha256')
      .update(DOCKERFILE + hash)
      .digest('hex');
    expect(body).toMatchObject({
      cpu: 2,
      mem: 2,
      size: null,
      entrypoint: null,
      buildInfo: { dockerfileContent: DOCKERFILE, contextHashes: [hash], snapshotRef: `daytona-${digest}:daytona` },
    });
    expect(body).not.toHaveProperty('imageName');
    expect((await ask('GET', `snapshots/${body.id}`)).body).toEqual(body);
    expect((await ask('GET', 'snapshots')).body.items).toEqual([body]);
  });

  it('takes contexts in any order for the same reference', async () => {
    const [a, b] = ['a'.repeat(32), 'b'.repeat(64)];
    await upload(a);
    await upload(b);
    const one = await create({ dockerfileContent: 'FROM scratch\n', contextHashes: [a, b] }, { name: 'one' });
    const two = await create({ dockerfileContent: 'FROM scratch\n', contextHashes: [b, a] }, { name: 'two' });
    expect(two.body.buildInfo.snapshotRef).toBe(one.body.buildInfo.snapshotRef);
    expect(two.body.buildInfo.contextHashes).toEqual([b, a]);
  });

  it.each([
    [{ dockerfileContent: '' }, /dockerfileContent/],
    [{ dockerfileContent: 'FROM a:1\nRUNN x\n' }, /line 2.*RUNN/],
    [{ dockerfileContent: 'RUN x\n' }, /line 1/],
    [{ dockerfileContent: 'FROM a:1\n', target: 'nothing' }, /nothing/],
    [{ dockerfileContent: 'FROM a:1\n', contextHashes: ['../../etc'] }, /"..\/..\/etc" is not 32 or 64/],
    [{ dockerfileContent: 'FROM a:1\n', contextHashes: ['A'.repeat(32)] }, /is not 32 or 64/],
    [{ dockerfileContent: 'FROM a:1\n', contextHashes: ['c'.repeat(32)] }, /Context c{32} was not uploaded/],
    [{ dockerfileContent: `FROM a:1\n#${'x'.repeat(300_000)}` }, /larger than 256 KiB/],
    [{ dockerfileContent: 'FROM a:1\n', buildArgs: { A: 'x'.repeat(200_000) } }, /build arguments are larger/],
    [{ dockerfileContent: 'FROM a:1\n', secrets: { a: 'x'.repeat(600_000) } }, /secrets are larger/],
    [{ dockerfileContent: 'FROM a:1\n', noCache: 'yes' }, /noCache/],
  ])('%j is a 400 that says why, and leaves nothing behind', async (buildInfo, message) => {
    const { status, body } = await create(buildInfo);
    expect([status, body.message]).toEqual([400, expect.stringMatching(message)]);
    expect((await ask('GET', 'snapshots/built')).status).toBe(404);
  });

  it("does not know another organization's contexts", async () => {
    const hash = 'd'.repeat(32);
    await api.contexts.put(
      { organizationId: await api.addOrganization(), hash },
      { stream: Readable.from([Buffer.alloc(1024)]), size: 1024 },
    );
    const { status } = await create({ dockerfileContent: 'FROM a:1\n', contextHashes: [hash] });
    expect(status).toBe(400);
  });

  it('refuses an image name or an entry point beside it, and counts against the quota', async () => {
    const build = { dockerfileContent: 'FROM a:1\n' };
    expect((await create(build, { imageName: 'a:1' })).body.message).toMatch(/^Cannot specify an image name/);
    expect((await create(build, { entrypoint: ['a'] })).body.message).toMatch(/^Cannot specify an entrypoint/);
    await api.db.updateTable('organizations').set({ snapshot_quota: 1 }).where('id', '=', organizationId).execute();
    expect((await create(build)).status).toBe(200);
    expect((await create(build, { name: 'second' })).body.message).toBe('Snapshot quota exceeded. Maximum allowed: 1');
  });
});

describe('secrets of a build', () => {
  it('are stored sealed, shown nowhere, and gone when the build has ended', async () => {
    const { body } = await create({
      dockerfileContent: DOCKERFILE,
      secrets: { token: SECRET },
      buildArgs: { VERSION: 'argument-value' },
    });
    const shown = await Promise.all(
      ['', '/build'].map(async (path) => (await ask('GET', `snapshots/${body.id}${path}`)).text),
    );
    for (const text of [JSON.stringify(body), ...shown]) expect(text).not.toMatch(/correct-horse|argument-value/);
    expect(JSON.parse(shown[1] ?? '')).toMatchObject({ state: 'waiting', buildArgs: ['VERSION'], steps: [] });
    expect(buildSchema.parse(JSON.parse(shown[1] ?? ''))).toBeDefined();
    const row = await buildRow(body.id);
    expect(row?.secrets?.includes(SECRET)).toBe(false);
    expect(JSON.parse(api.secrets.open(row?.secrets ?? Buffer.of(), `build:${row?.id}`))).toEqual({ token: SECRET });
    await ask('POST', `snapshots/${body.id}/cancel`);
    expect((await buildRow(body.id))?.secrets).toBeNull();
  });

  it.each(['deadline', 'delete'])('go with a %s, whoever moves the snapshot', async (end) => {
    const { body } = await create({ dockerfileContent: DOCKERFILE, secrets: { token: SECRET } });
    if (end === 'delete') await ask('DELETE', `snapshots/${body.id}`);
    else
      await api.db
        .updateTable('snapshots')
        .set({ state: 'error', error_reason: 'x' })
        .where('id', '=', body.id)
        .execute();
    expect(await buildRow(body.id)).toMatchObject({
      secrets: null,
      outcome: end === 'delete' ? 'cancelled' : 'failed',
      finished_at: expect.any(Date),
    });
  });
});

describe('cancelling a build', () => {
  it('ends it as an error that says who did it, and cannot be done twice', async () => {
    const { body } = await create({ dockerfileContent: 'FROM a:1\n' });
    const { status, body: cancelled } = await ask('POST', 'snapshots/built/cancel');
    expect([status, cancelled]).toEqual([
      200,
      expect.objectContaining({
        id: body.id,
        state: 'error',
        errorReason: 'The build was cancelled by the key "test".',
      }),
    ]);
    expect((await ask('GET', 'snapshots/built/build')).body.state).toBe('cancelled');
    expect(await ask('POST', 'snapshots/built/cancel')).toMatchObject({
      status: 409,
      body: { message: 'Snapshot built is not being built: its state is error' },
    });
  });

  it('needs write:snapshots, and a snapshot of the organization', async () => {
    await create({ dockerfileContent: 'FROM a:1\n' });
    const reader = await api.addKey(organizationId, { permissions: [] });
    expect((await api.ask('POST', '/api/snapshots/built/cancel', { key: reader })).status).toBe(403);
    const stranger = await api.addKey(await api.addOrganization());
    expect((await api.ask('POST', '/api/snapshots/built/cancel', { key: stranger })).status).toBe(404);
  });
});

describe('the log of a build', () => {
  it('has a URL without a query, for anybody of the organization and nobody else', async () => {
    const { body } = await create({ dockerfileContent: 'FROM a:1\n' });
    const reader = await api.addKey(organizationId, { permissions: [] });
    const answer = await api.ask('GET', '/api/snapshots/built/build-logs-url', { key: reader });
    expect([answer.status, new URL(answer.body.url).pathname, new URL(answer.body.url).search]).toEqual([
      200,
      `/api/snapshots/${body.id}/build-logs`,
      '',
    ]);
    const stranger = await api.addKey(await api.addOrganization());
    for (const route of ['build-logs-url', 'build-logs', 'build-logs?follow=true', 'build']) {
      expect((await api.ask('GET', `/api/snapshots/${body.id}/${route}`, { key: stranger })).status).toBe(404);
    }
  });

  it('ends for its followers when the build is ended before anybody began it', async () => {
    const { body } = await create({ dockerfileContent: 'FROM a:1\n' });
    const following = ask('GET', `snapshots/${body.id}/build-logs?follow=true`);
    const watching = api.ask('GET', `/api/snapshots/${body.id}/build`, {
      key,
      headers: { accept: 'text/event-stream' },
    });
    await ask('POST', `snapshots/${body.id}/cancel`);
    expect(await following).toMatchObject({ status: 200, text: '' });
    const events = await watching;
    expect(events.headers['content-type']).toMatch(/^text\/event-stream/);
    const names = [...events.text.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name);
    expect([names[0], names.at(-1)]).toEqual(['build', 'end']);
    expect(events.text.split('event: end\ndata: ')[1]).toContain('"state":"cancelled"');
  });

  it.each(['from=-1', 'from=x', 'format=xml'])('refuses ?%s', async (query) => {
    await create({ dockerfileContent: 'FROM a:1\n' });
    expect((await ask('GET', `snapshots/built/build-logs?${query}`)).status).toBe(400);
  });
});

describe('a build whose server died', () => {
  it('is given to another one, once', async () => {
    const { body } = await create({ dockerfileContent: 'FROM a:1\n' });
    const { id: buildId } = (await buildRow(body.id)) ?? {};
    const dead = randomUUID();
    await api.db.updateTable('snapshots').set({ owner_id: dead }).where('id', '=', body.id).execute();
    await sql`delete from pgboss.job where name = 'snapshot.build'`.execute(api.db);
    const orphan = { id: body.id, state: 'building', ownerId: dead };
    expect(await Promise.all([takeUpSnapshot(api, orphan), takeUpSnapshot(api, orphan)])).toEqual([true, true]);
    const { rows } = await sql`select singleton_key as key from pgboss.job where name = 'snapshot.build'`.execute(
      api.db,
    );
    expect(rows).toEqual([{ key: buildId }]);
    const row = await api.db.selectFrom('snapshots').select(['state', 'owner_id']).where('id', '=', body.id).execute();
    expect(row).toEqual([{ state: 'building', owner_id: null }]);
  });
});
