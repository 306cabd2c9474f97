import { afterAll, beforeAll, expect, test } from 'vitest';
import { type HttpClient, httpClient } from '../../../test-support/http-client.ts';
import { fillWithBusybox, shiftOwners } from '../../../test-support/root-file-system.ts';
import { startTestServer, TEST_ID_BASE, type TestServer } from '../../../test-support/test-server.ts';

let server: TestServer;
let client: HttpClient;
let organizationId: string;
let snapshot: string;
beforeAll(async () => {
  server = await startTestServer();
  organizationId = await server.addOrganization();
  client = httpClient(() => server.url, await server.addKey(organizationId));
  snapshot = await server.addSnapshot(organizationId, {
    name: 'busybox',
    async fill(directory: string) {
      await fillWithBusybox(directory);
      await shiftOwners(directory, TEST_ID_BASE);
    },
  });
});
afterAll(() => server?.stop());

test('an inactive snapshot is refused, unless the organization wants it activated for a sandbox', async () => {
  expect((await client.post(`/api/snapshots/${snapshot}/deactivate`)).status).toBe(204);
  const refused = await client.post('/api/sandbox', { snapshot });
  expect(refused.status).toBe(400);
  expect(refused.body.message).toBe(`Snapshot ${snapshot} is inactive`);

  const settings = JSON.stringify({ activateSnapshotsOnUse: true });
  const path = `/api/organizations/${organizationId}`;
  const headers = { 'content-type': 'application/json' };
  expect((await client.send('PATCH', path, { body: settings, headers })).status).toBe(200);
  const answers = await Promise.all([
    client.post('/api/sandbox', { snapshot }),
    client.post('/api/sandbox', { snapshot }),
  ]);
  expect(answers.map(({ body }) => body.state)).toEqual(['started', 'started']);
  expect((await client.get(`/api/snapshots/${snapshot}`)).body.state).toBe('active');
});
