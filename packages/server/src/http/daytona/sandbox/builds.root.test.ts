import { beforeAll, expect, test } from 'vitest';
import { type BuildClient, buildClient } from '../../../test-support/build-client.ts';
import { processesOf } from '../../../test-support/processes.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

/** Sandboxes that are made from an image or a Dockerfile. */
const lab = setUpServer();
const { client } = lab;
let builds: BuildClient;

beforeAll(async () => {
  builds = await buildClient(lab.server, client, lab.organizationId);
});

const at = (id: string) => `/api/sandbox/${id}`;
const create = (steps: readonly string[], more: object = {}) =>
  client.post('/api/sandbox', { buildInfo: builds.info(steps), memory: 0.25, disk: 0.25, ...more });

test('a sandbox from a Dockerfile waits for its build, shows its log, and then runs with the size it asked for', async () => {
  const { status, body } = await create(['RUN echo built | tee /made', 'CMD ["sleep", "infinity"]'], { cpu: 2 });
  expect([status, body]).toEqual([
    200,
    expect.objectContaining({ state: 'pending_build', desiredState: 'started', cpu: 2, memory: 0.25, disk: 0.25 }),
  ]);
  expect(body).not.toHaveProperty('snapshot');
  expect(body.buildInfo.snapshotRef).toMatch(/^daytona-[0-9a-f]{64}:daytona$/);
  const { body: where } = await client.get(`${at(body.id)}/build-logs-url`);
  expect(new URL(where.url)).toMatchObject({ pathname: `${at(body.id)}/build-logs`, search: '' });
  expect(await builds.log(at(body.id))).toContain('built');
  await expect.poll(async () => (await client.get(at(body.id))).body.state).toBe('started');
  const answer = await client.post(`/toolbox/${body.id}/process/execute`, { command: 'cat /made' });
  expect(answer.body.result).toBe('built\n');
  expect((await client.get(`${at(body.id)}/build`)).body).toMatchObject({ state: 'succeeded', sandboxId: body.id });
  await client.post(`${at(body.id)}/stop?force=true`);
  expect((await client.post(`${at(body.id)}/start`)).body.state).toBe('started');
  await client.delete(at(body.id));
  await expect
    .poll(() => lab.server.db.selectFrom('builds').select('id').where('sandbox_id', '=', body.id).execute())
    .toEqual([]);
});

test('a build that fails leaves an error with its reason, and nothing to start', async () => {
  const { body } = await create(['RUN exit 3']);
  await builds.log(at(body.id));
  expect((await client.get(at(body.id))).body).toMatchObject({
    state: 'error',
    errorReason: expect.stringMatching(/Step 3 .*exit code 3/),
    recoverable: false,
  });
  const { status, body: refused } = await client.post(`${at(body.id)}/start`);
  expect([status, refused.message]).toEqual([400, expect.stringContaining('its build has not succeeded')]);
  expect((await client.delete(at(body.id))).status).toBe(200);
});

test('a delete during the build ends it', async () => {
  const { body } = await create(['RUN echo begun; sleep 7011']);
  await builds.until(at(body.id), 'begun');
  expect((await client.get(at(body.id))).body.state).toBe('building_snapshot');
  expect((await client.post(`${at(body.id)}/start`)).body.message).toMatch(/is being built: it starts by itself/);
  const following = builds.log(at(body.id));
  expect((await client.delete(at(body.id))).status).toBe(200);
  await following;
  expect(await processesOf('7011')).toEqual([]);
});

test('what cannot be built is refused at once', async () => {
  const refusals = [
    [{ buildInfo: { dockerfileContent: 'FROMM x\n' } }, /line 1/],
    [{ buildInfo: { dockerfileContent: '' } }, /dockerfileContent/],
    [{ buildInfo: builds.info(['RUN true']), snapshot: 'x' }, /^Cannot specify a snapshot/],
    [{ buildInfo: builds.info(['RUN true']), memory: 9 }, /^Memory request 9GB exceeds/],
    [{ buildInfo: { dockerfileContent: 'FROM x:1\n', contextHashes: ['e'.repeat(32)] } }, /was not uploaded/],
  ] as const;
  for (const [request, message] of refusals) {
    const { status, body } = await client.post('/api/sandbox', request);
    expect([status, body.message]).toEqual([400, expect.stringMatching(message)]);
  }
});

test('a sandbox of a snapshot has no build', async () => {
  const id = await builds.create('plain', ['RUN true']);
  await builds.log(`/api/snapshots/${id}`);
  const { body } = await client.post('/api/sandbox', { snapshot: 'plain' });
  expect(body.snapshot).toBe('plain');
  expect(await client.get(`${at(body.id)}/build-logs-url`)).toMatchObject({
    status: 404,
    body: { message: `Sandbox ${body.id} has no build info` },
  });
});
