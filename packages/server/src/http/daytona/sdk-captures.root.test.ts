import { describe, expect, test } from 'vitest';
import { busybox } from '../../test-support/layers.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox });
const { newer, connectOldest } = officialClients(lab);

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
  const daytona = connectOldest();
  const sandbox = await daytona.create();
  await sandbox.process.executeCommand('echo prepared > /root/file');
  await sandbox._experimental_createSnapshot('from-0190');
  const copy = await daytona.create({ snapshot: 'from-0190' });
  expect((await copy.process.executeCommand('cat /root/file')).result).toBe('prepared\n');
  const fork = await sandbox._experimental_fork({ name: 'fork-0190' });
  expect((await fork.process.executeCommand('cat /root/file')).result).toBe('prepared\n');
  for (const each of [fork, copy, sandbox]) await each.delete();
});
