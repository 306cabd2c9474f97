import * as newest from '@daytona/sdk';
import * as v0190 from 'daytona-sdk-0190';
import * as legacy from 'daytona-sdk-legacy';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { busybox } from '../../test-support/busybox.ts';
import { startTestServer, type TestServer } from '../../test-support/test-server.ts';

let server: TestServer;
let apiKey: string;

beforeAll(async () => {
  server = await startTestServer();
  const organizationId = await server.addOrganization();
  apiKey = await server.addKey(organizationId);
  await server.addSnapshot(organizationId, busybox, { name: 'default' });
}, 120_000);
afterAll(() => server?.stop());

const newer = [
  ['@daytonaio/sdk newest', () => new legacy.Daytona({ apiKey, apiUrl: `${server.url}/api` })],
  ['@daytona/sdk newest', () => new newest.Daytona({ apiKey, apiUrl: `${server.url}/api` })],
] as const;

describe.each(newer)('%s', (client, connect) => {
  const name = client.replace(/[^a-z]+/g, '-');

  test('makes a snapshot of a sandbox, finds it by its source, and makes sandboxes from it', async () => {
    const daytona = connect();
    const sandbox = await daytona.create();
    await sandbox.process.executeCommand('echo prepared > /root/file');
    await sandbox.createSnapshot(`from-${name}`);
    expect(sandbox.state).toBe('started');
    const { items } = await daytona.snapshot.list({ page: 1, limit: 10, sourceSandboxId: sandbox.id });
    expect(items).toMatchObject([{ name: `from-${name}`, state: 'active', sourceSandboxId: sandbox.id }]);
    const copy = await daytona.create({ snapshot: `from-${name}` });
    expect((await copy.process.executeCommand('cat /root/file')).result).toBe('prepared\n');
    await expect(sandbox.createSnapshot(`from-${name}`)).rejects.toThrow(/already exists/);
    await copy.delete();
    await sandbox.delete();
  });

  test('forks a sandbox', async () => {
    const daytona = connect();
    const sandbox = await daytona.create();
    await sandbox.process.executeCommand('echo shared > /root/file');
    const fork = await sandbox.fork({ name: `fork-${name}` });
    expect(fork).toMatchObject({ state: 'started', name: `fork-${name}` });
    expect((await fork.process.executeCommand('cat /root/file')).result).toBe('shared\n');
    await fork.delete();
    await sandbox.delete();
  });
});

test('@daytonaio/sdk 0.190 makes a snapshot of a sandbox and forks it, under the names of its time', async () => {
  const daytona = new v0190.Daytona({ apiKey, apiUrl: `${server.url}/api` });
  const sandbox = await daytona.create();
  await sandbox.process.executeCommand('echo prepared > /root/file');
  await sandbox._experimental_createSnapshot('from-0190');
  const copy = await daytona.create({ snapshot: 'from-0190' });
  expect((await copy.process.executeCommand('cat /root/file')).result).toBe('prepared\n');
  const fork = await sandbox._experimental_fork({ name: 'fork-0190' });
  expect((await fork.process.executeCommand('cat /root/file')).result).toBe('prepared\n');
  for (const each of [fork, copy, sandbox]) await each.delete();
});
