import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type BuildClient, buildClient } from '../../test-support/build-client.ts';
import { httpClient } from '../../test-support/http-client.ts';
import { processesOf } from '../../test-support/processes.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

/** Builds over HTTP with everything real: engine, steps, cache, logs, queue. */
const SECRET = 'correct-horse-battery';
let builds: BuildClient;

const limits = { memoryGb: 0.5, diskGb: 1, pids: 256 };
const lab = setUpServer({ config: { builds: { concurrency: 2, concurrencyPerOrganization: 1, limits } } });
const { client } = lab;
beforeAll(async () => {
  builds = await buildClient(lab.server, client, lab.organizationId);
});

const at = (id: string) => `/api/snapshots/${id}`;
const snapshot = async (id: string) => (await client.get(at(id))).body;
const build = async (id: string) => (await client.get(`${at(id)}/build`)).body;
const run = async (sandbox: string, command: string) =>
  (await client.post(`/toolbox/${sandbox}/process/execute`, { command })).body.result;

test('a snapshot is built, its log is followed to the end, and sandboxes start from it', async () => {
  const id = await builds.create('first', ['ENV GREETING=hello', 'RUN echo $GREETING | tee /greeting', 'WORKDIR /app']);
  const lines = await builds.log(at(id));
  expect(await snapshot(id)).toMatchObject({
    state: 'active',
    initialRunnerId: 'test-runner',
    errorReason: null,
    entrypoint: null,
  });
  expect(lines[0]).toBe('Build of first');
  expect(lines).toContain('hello');
  expect(lines.at(-1)).toMatch(/^Built in .* layers/);
  const { steps, state } = await build(id);
  expect(state).toBe('succeeded');
  expect(steps.map(({ state, text }: { state: string; text: string }) => [state, text])).toEqual([
    ['done', 'FROM scratch'],
    ['done', 'COPY . /'],
    ['done', 'ENV GREETING=hello'],
    ['done', 'RUN echo $GREETING | tee /greeting'],
    ['done', 'WORKDIR /app'],
  ]);
  const { body: sandbox } = await client.post('/api/sandbox', { snapshot: 'first' });
  expect(await run(sandbox.id, 'cat /greeting; pwd; echo $GREETING')).toBe('hello\n/app\nhello\n');
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('the log stays: from any line, as text and as JSON, and the second build is cached', async () => {
  const id = await builds.create('again', ['RUN echo only once']);
  await builds.log(at(id));
  const second = await builds.create('and-again', ['RUN echo only once']);
  const lines = await builds.log(at(second));
  expect(lines).toContain('CACHED');
  const steps = (await build(second)).steps;
  expect(steps.at(-1)).toMatchObject({ state: 'cached', cache: 'hit', cacheReason: null });
  const text = await (await client.send('GET', `${at(second)}/build-logs?follow=true`)).text();
  expect(text).toMatch(/^Build of and-again\n/);
  expect(text.endsWith('\n')).toBe(true);
  const rest = await (await client.send('GET', `${at(second)}/build-logs?from=2&format=jsonl`)).text();
  const parsed = rest
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(parsed.map(({ index }) => index)).toEqual(lines.map((_, index) => index).slice(2));
  expect(parsed.map(({ text }) => text)).toEqual(lines.slice(2));
});

test('a failure says which step, what it wrote and what to do, without secrets', async () => {
  const steps = ['RUN --mount=type=secret,id=token cat /run/secrets/token; echo; nosuchcommand'];
  const id = await builds.create('failing', steps, { secrets: { token: SECRET } });
  const lines = await builds.log(at(id));
  expect(lines).toContain('***');
  const { state, errorReason } = await snapshot(id);
  expect(state).toBe('error');
  expect(errorReason).toMatch(/Step 3 .*exit code 127.*nosuchcommand.*not found/s);
  const { failure, steps: shown } = await build(id);
  expect(failure).toMatchObject({ class: 'user', retryable: false, step: { number: 3, line: 3, exitCode: 127 } });
  expect(failure.output).toContain('***');
  expect(shown.at(-1)).toMatchObject({ state: 'failed', exitCode: 127 });
  expect(JSON.stringify([lines, errorReason, failure, shown])).not.toContain(SECRET);
  const row = await lab.server.db
    .selectFrom('builds')
    .selectAll()
    .where('snapshot_id', '=', id)
    .executeTakeFirstOrThrow();
  expect([row.secrets, row.outcome]).toEqual([null, 'failed']);
});

test('a cancelled build ends with all its processes, and its followers with it', async () => {
  const id = await builds.create('cancelled', ['RUN echo begun; (sleep 7001 &) ; sleep 7001']);
  await builds.until(at(id), 'begun');
  const following = builds.log(at(id));
  expect((await client.post(`${at(id)}/cancel`)).body).toMatchObject({ state: 'error' });
  expect((await following).at(-1)).toBe('The build was cancelled.');
  expect(await processesOf('7001')).toEqual([]);
  expect((await build(id)).state).toBe('cancelled');
});

test('a delete ends the build and takes its log away, and the name is free at once', async () => {
  const id = await builds.create('deleted', ['RUN echo begun; sleep 7002']);
  await builds.until(at(id), 'begun');
  const { id: buildId } = await build(id);
  const following = builds.log(at(id));
  expect((await client.delete(at(id))).status).toBe(200);
  expect((await client.get(at(id))).status).toBe(404);
  const next = await builds.create('deleted', ['RUN true']);
  await following;
  expect(await processesOf('7002')).toEqual([]);
  const rows = () => lab.server.db.selectFrom('builds').selectAll().where('id', '=', buildId).execute();
  await expect.poll(rows).toEqual([]);
  // It goes first.
  expect(await readdir(join(lab.server.stateDir, 'build-logs'))).not.toContain(`${buildId}.log`);
  await builds.log(at(next));
});

test('a build waits for its turn behind others of its organization, says so, and another organization does not wait', async () => {
  const first = await builds.create('running', ['RUN echo begun; sleep 7003']);
  await builds.until(at(first), 'begun');
  const second = await builds.create('waiting', ['RUN echo my turn']);
  await builds.until(at(second), 'Waiting for its turn: it is the next.');
  expect((await build(second)).state).toBe('waiting');
  const otherId = await lab.server.addOrganization();
  const otherClient = httpClient(() => lab.server.url, await lab.server.addKey(otherId));
  const other = await buildClient(lab.server, otherClient, otherId);
  expect((await other.log(at(await other.create('other', ['RUN true'])))).at(-1)).toMatch(/^Built/);
  await client.post(`${at(first)}/cancel`);
  expect(await builds.log(at(second))).toContain('my turn');
});

test('events show the build as it changes; who comes again goes on behind the last line', async () => {
  const id = await builds.create('watched', ['RUN echo seen', 'RUN echo twice']);
  const headers = { accept: 'text/event-stream' };
  const text = await (await client.send('GET', `${at(id)}/build`, { headers })).text();
  const events = text
    .split('\n\n')
    .filter((event) => event.includes('event: '))
    .map((event) => ({
      name: /^event: (\w+)$/m.exec(event)?.[1],
      id: /^id: (\d+)$/m.exec(event)?.[1],
      data: JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? ''),
    }));
  expect(events[0]?.name).toBe('build');
  expect(events.at(-1)).toMatchObject({ name: 'end', data: { state: 'succeeded' } });
  const lines = events.filter(({ name }) => name === 'log');
  expect(lines.map((event) => Number(event.id))).toEqual(lines.map((_, index) => index));
  expect(lines.map(({ data }) => data.text)).toContain('seen');
  const last = { ...headers, 'last-event-id': '1' };
  const resumed = await (await client.send('GET', `${at(id)}/build`, { headers: last })).text();
  expect(/^id: (\d+)$/m.exec(resumed)?.[1]).toBe('2');
});

test('a restart of the server in the middle of a build lets it go on behind its last finished step', async () => {
  const once = `RUN echo once ${crypto.randomUUID()}`;
  const id = await builds.create('restarted', [once, 'RUN echo begun; test -e /gate || sleep 7004']);
  const before = await builds.until(at(id), 'begun');
  const following = builds.follow(at(id));
  await following.next();
  await lab.server.restart();
  // A follower is let go, with a whole end of its stream.
  for await (const line of following) expect(line.text).not.toMatch(/^Built/);
  expect((await snapshot(id)).state).toBe('building');
  const after = await builds.until(at(id), 'The server was started again; the build goes on.');
  expect(after.slice(0, before.length)).toEqual(before);
  await builds.until(at(id), 'CACHED');
  expect((await build(id)).steps.find(({ text }: { text: string }) => text === once)).toMatchObject({ cache: 'hit' });
  await client.post(`${at(id)}/cancel`);
  await builds.log(at(id));
  expect(await processesOf('7004')).toEqual([]);
});
