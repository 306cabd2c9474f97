import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { armFailpoints } from '../../../platform/failpoints.ts';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox });
const { client, snapshot } = lab;
afterEach(() => armFailpoints(''));

async function create(from = snapshot) {
  const { status, body } = await client.post('/api/sandbox', { snapshot: from });
  expect([status, body.state], JSON.stringify(body)).toEqual([200, 'started']);
  await run(body.id, 'sh -c "echo mine > /root/mine"');
  return body.id;
}

const run = async (id: string, command: string) =>
  (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result;
const capture = (id: string, name: string) => client.post(`/api/sandbox/${id}/snapshot`, { name });
const rowOf = (name: string) =>
  lab.server.db.selectFrom('snapshots').selectAll().where('name', '=', name).executeTakeFirst();
const stateOf = async (id: string) => (await client.get(`/api/sandbox/${id}`)).body.state;
/** A capture that has come to this point takes a moment longer there. */
async function captureHeldAt(failpoint: string, id: string, name: string) {
  armFailpoints(`${failpoint}=pause:700`);
  const answer = capture(id, name);
  answer.catch(() => {});
  await expect.poll(async () => (await rowOf(name))?.state).toBe('snapshotting');
  return answer;
}

test.each(['stop', 'pause', 'resize'])('a capture and a %s at the same time are one after the other', async (what) => {
  const id = await create();
  const body = what === 'resize' ? { cpu: 2 } : undefined;
  const change = (): Promise<{ status: number }> => client.post(`/api/sandbox/${id}/${what}`, body);
  const [captured, changed] = await Promise.all([capture(id, `beside-${what}`), change()]);
  // Whoever comes second may be told that the other is at work.
  expect([200, 409], JSON.stringify(captured.body)).toContain(captured.status);
  expect([200, 409]).toContain(changed.status);
  if (captured.status === 200) expect(await rowOf(`beside-${what}`)).toMatchObject({ state: 'active' });
  else expect(await rowOf(`beside-${what}`)).toBeUndefined();
  await expect.poll(() => stateOf(id)).toMatch(/^(started|stopped|paused)$/);
  await client.delete(`/api/sandbox/${id}`);
});

test('several captures of one sandbox at once are all made', async () => {
  const id = await create();
  const names = ['many-1', 'many-2', 'many-3', 'many-4'];
  const answers = await Promise.all(names.map((name) => capture(id, name)));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  for (const name of names) expect(await rowOf(name)).toMatchObject({ state: 'active' });
  await client.delete(`/api/sandbox/${id}`);
});

test('one that is paused is captured, and stays paused', async () => {
  const id = await create();
  expect((await client.post(`/api/sandbox/${id}/pause`)).status).toBe(200);
  await expect.poll(() => stateOf(id)).toBe('paused');
  expect((await capture(id, 'of-paused')).status).toBe(200);
  expect(await stateOf(id)).toBe('paused');
  const copy = await create('of-paused');
  expect(await run(copy, 'cat /root/mine')).toBe('mine\n');
  for (const each of [id, copy]) await client.delete(`/api/sandbox/${each}`);
});

test('one that is in error cannot be captured before it was started again', async () => {
  const id = await create();
  await lab.server.db
    .updateTable('sandboxes')
    .set({ state: 'error', error_reason: 'it broke' })
    .where('id', '=', id)
    .execute();
  expect(await capture(id, 'of-error')).toMatchObject({ status: 400 });
  expect(await rowOf('of-error')).toBeUndefined();
  await client.delete(`/api/sandbox/${id}`);
});

test.each(['capture.row-written', 'capture.copied', 'capture.layer-published'])(
  'the sandbox may be deleted while its capture is at %s: the snapshot is there or says why not',
  async (failpoint) => {
    const id = await create();
    const name = `orphan-${failpoint.replace('.', '-')}`;
    const answer = await captureHeldAt(failpoint, id, name);
    expect((await client.delete(`/api/sandbox/${id}`)).status).toBe(200);
    const row = await rowOf(name);
    if (answer.status === 200) {
      expect(row).toMatchObject({ state: 'active' });
      const copy = await create(name);
      await client.delete(`/api/sandbox/${copy}`);
    } else {
      expect(row).toMatchObject({ state: 'error', error_reason: expect.stringContaining('sandbox') });
    }
  },
);

test('a snapshot that is deleted while it is captured does not come back', async () => {
  const id = await create();
  armFailpoints('capture.layer-published=pause:1000');
  const answer = capture(id, 'unwanted');
  await expect.poll(async () => (await rowOf('unwanted'))?.state).toBe('snapshotting');
  const row = await rowOf('unwanted');
  expect((await client.delete(`/api/snapshots/${row?.id}`)).status).toBe(200);
  expect(await answer).toMatchObject({ status: 409 });
  await expect.poll(() => client.get(`/api/snapshots/${row?.id}`)).toMatchObject({ status: 404 });
  armFailpoints('');
  expect((await capture(id, 'unwanted')).status).toBe(200);
  await client.delete(`/api/sandbox/${id}`);
});

test('a client that goes away in the middle finds the snapshot when it comes back', async () => {
  const id = await create();
  armFailpoints('capture.copied=pause:500');
  const gone = new AbortController();
  const asked = fetch(`${lab.server.url}/api/sandbox/${id}/snapshot`, {
    method: 'POST',
    body: JSON.stringify({ name: 'left-alone' }),
    headers: {
      authorization: `Bearer ${lab.apiKey}`,
      'content-type': 'application/json',
    },
    signal: gone.signal,
  });
  await expect.poll(async () => (await rowOf('left-alone'))?.state).toBe('snapshotting');
  gone.abort();
  await expect(asked).rejects.toThrow();
  await expect.poll(async () => (await rowOf('left-alone'))?.state).toBe('active');
  await client.delete(`/api/sandbox/${id}`);
});

test.each(['capture.copied', 'seal.disk-moved', 'seal.disk-renamed'])(
  'a capture that fails at %s leaves nothing, and the sandbox goes on',
  async (failpoint) => {
    const id = await create();
    const name = `fails-${failpoint.replace('.', '-')}`;
    const layersBefore = (await lab.server.layers.list()).length;
    armFailpoints(`${failpoint}=error`);
    expect(await capture(id, name)).toMatchObject({ status: 503 });
    armFailpoints('');
    expect(await rowOf(name)).toMatchObject({ state: 'error', error_reason: expect.stringContaining('captured') });
    const left = readdirSync(join(lab.server.stateDir, 'pool/tmp')).filter((entry) => entry.includes('copy-'));
    expect(left).toEqual([]);
    // One that is complete and that nobody has named goes with the next sweep.
    if (failpoint !== 'seal.disk-renamed') expect((await lab.server.layers.list()).length).toBe(layersBefore);
    expect(await run(id, 'sh -c "echo on > /root/on; sync; cat /root/on"')).toBe('on\n');
    await client.delete(`/api/sandbox/${id}`);
  },
);

test("above the organization's number of snapshots nothing is begun", async () => {
  const id = await create();
  const quota = (count: number) =>
    lab.server.db
      .updateTable('organizations')
      .set({ snapshot_quota: count })
      .where('id', '=', lab.organizationId)
      .execute();
  await quota(1);
  const answer = await capture(id, 'one-too-many');
  await quota(1000);
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 400 });
  expect(await rowOf('one-too-many')).toBeUndefined();
  expect(existsSync(join(lab.server.stateDir, 'pool', 'sandboxes', id))).toBe(true);
  await client.delete(`/api/sandbox/${id}`);
});
