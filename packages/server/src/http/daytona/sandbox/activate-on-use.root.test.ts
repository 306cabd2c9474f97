import { expect, test } from 'vitest';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox });
const { client, snapshot } = lab;

test('an inactive snapshot is refused, unless the organization wants it activated for a sandbox', async () => {
  expect((await client.post(`/api/snapshots/${snapshot}/deactivate`)).status).toBe(204);
  const refused = await client.post('/api/sandbox', { snapshot });
  expect(refused.status).toBe(400);
  expect(refused.body.message).toBe(`Snapshot ${snapshot} is inactive`);

  const settings = JSON.stringify({ activateSnapshotsOnUse: true });
  const path = `/api/organizations/${lab.organizationId}`;
  const headers = { 'content-type': 'application/json' };
  expect((await client.send('PATCH', path, { body: settings, headers })).status).toBe(200);
  const answers = await Promise.all([
    client.post('/api/sandbox', { snapshot }),
    client.post('/api/sandbox', { snapshot }),
  ]);
  expect(answers.map(({ body }) => body.state)).toEqual(['started', 'started']);
  expect((await client.get(`/api/snapshots/${snapshot}`)).body.state).toBe('active');
});
