import * as newest from '@daytona/sdk';
import * as oldest from 'daytona-sdk-0190';
import * as legacy from 'daytona-sdk-legacy';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { SdkConnection } from '../support/build-sdks.ts';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { expectSnapshotDto } from '../support/snapshot-dto.ts';

/** Snapshots of sandboxes, and forks, by the three packages as they are published: under the names of 0.190 and under those of today. */
let darkroom: Darkroom;
const connection = (): SdkConnection => ({ apiKey: darkroom.apiKey, apiUrl: `${darkroom.url}/api` });

beforeAll(async () => {
  darkroom = await startDarkroom({
    config: { registries: { mirrors: { 'docker.io': [inject('registryUrl')] } }, defaultSnapshot: 'base' },
  });
  const body = { name: 'base', imageName: inject('baseImage') };
  expect((await darkroom.api('/snapshots', { method: 'POST', body })).status).toBe(200);
  await eventually('the base is there', async () => {
    const { state } = await jsonOf<{ state: string }>(darkroom.api('/snapshots/base'));
    return state === 'active' ? state : undefined;
  });
});
afterAll(() => darkroom?.destroy());

interface SdkSandbox {
  id: string;
  name: string;
  state?: string;
  labels: Record<string, string>;
  process: { executeCommand(command: string): Promise<{ result: string }> };
  stop(): Promise<void>;
  delete(): Promise<unknown>;
  refreshData(): Promise<void>;
  capture(name: string, timeout?: number): Promise<void>;
  fork(params?: { name?: string }, timeout?: number): Promise<SdkSandbox>;
}

interface SdkSnapshot {
  id: string;
  name: string;
  state: string;
  size: number | null;
}

interface CaptureSdk {
  DaytonaError: new (...args: never[]) => Error;
  create(wish?: {
    snapshot?: string;
    envVars?: Record<string, string>;
    labels?: Record<string, string>;
  }): Promise<SdkSandbox>;
  snapshot(name: string): Promise<SdkSnapshot>;
  removeSnapshot(name: string): Promise<void>;
}

/** The three declare the same classes, each with a brand of its own, and the first has other names for two methods. */
function underOldNames(sandbox: oldest.Sandbox): SdkSandbox {
  return Object.assign(Object.create(sandbox), {
    capture: (name: string, timeout?: number) => sandbox._experimental_createSnapshot(name, timeout),
    fork: async (params?: { name?: string }, timeout?: number) =>
      underOldNames(await sandbox._experimental_fork(params, timeout)),
  });
}

function underNewNames(sandbox: newest.Sandbox | legacy.Sandbox): SdkSandbox {
  return Object.assign(Object.create(sandbox), {
    capture: (name: string, timeout?: number) => sandbox.createSnapshot(name, timeout),
    fork: async (params?: { name?: string }, timeout?: number) => underNewNames(await sandbox.fork(params, timeout)),
  });
}

const sdks: Record<string, () => CaptureSdk> = {
  '@daytonaio/sdk 0.190.1': () => {
    const daytona = new oldest.Daytona(connection());
    return {
      DaytonaError: oldest.DaytonaError,
      create: async (wish) => underOldNames(await daytona.create(wish)),
      snapshot: (name) => daytona.snapshot.get(name),
      removeSnapshot: async (name) => daytona.snapshot.delete(await daytona.snapshot.get(name)),
    };
  },
  '@daytonaio/sdk newest': () => {
    const daytona = new legacy.Daytona(connection());
    return {
      DaytonaError: legacy.DaytonaError,
      create: async (wish) => underNewNames(await daytona.create(wish)),
      snapshot: (name) => daytona.snapshot.get(name),
      removeSnapshot: async (name) => daytona.snapshot.delete(await daytona.snapshot.get(name)),
    };
  },
  '@daytona/sdk newest': () => {
    const daytona = new newest.Daytona(connection());
    return {
      DaytonaError: newest.DaytonaError,
      create: async (wish) => underNewNames(await daytona.create(wish)),
      snapshot: (name) => daytona.snapshot.get(name),
      removeSnapshot: async (name) => daytona.snapshot.delete(await daytona.snapshot.get(name)),
    };
  },
};

const said = async (sandbox: SdkSandbox, command: string) => (await sandbox.process.executeCommand(command)).result;
const read = (path: string) => jsonOf<Record<string, unknown>>(darkroom.api(path));
const idsAt = async (path: string) =>
  (await jsonOf<{ id: string }[]>(darkroom.api(path))).map(({ id }: { id: string }) => id);
const failureOf = (work: Promise<unknown>) => work.then(() => undefined).catch((error: unknown) => error);

describe.concurrent.each(Object.entries(sdks))('%s', (label, connect) => {
  const name = (what: string) => `${label.replace(/[^a-z0-9.]+/g, '-').replace(/^-/, '')}/${what}`;

  test('a started and a stopped sandbox become snapshots with all their files', async () => {
    const sdk = connect();
    const sandbox = await sdk.create({ envVars: { GIVEN: 'yes' } });
    await said(sandbox, 'mkdir -p /srv/a && echo one > /srv/a/file && ln /srv/a/file /srv/hard && rm /etc/issue');
    await sandbox.capture(name('started'));
    expect(sandbox.state).toBe('started');
    const taken = await sdk.snapshot(name('started'));
    expectSnapshotDto(taken);
    expect(taken).toMatchObject({ name: name('started'), state: 'active' });
    expect(taken.size).toBeGreaterThan(0.05);
    const base = await read('/snapshots/base');
    const raw = await read(`/snapshots/${taken.id}`);
    expect(raw).toMatchObject({ sourceSandboxId: sandbox.id, parentSnapshotId: base.id });
    expect(raw.addedSize).toBeGreaterThan(0);
    expect(raw.addedSize).toBeLessThan(0.01);

    await said(sandbox, 'mv /srv/a /srv/b && echo two >> /srv/b/file');
    await sandbox.stop();
    await sandbox.capture(name('stopped'));
    await sandbox.refreshData();
    expect(sandbox.state).toBe('stopped');

    const [first, second] = await Promise.all([
      sdk.create({ snapshot: name('started') }),
      sdk.create({ snapshot: name('stopped') }),
    ]);
    const look = 'cat /srv/*/file; stat -c %h /srv/hard; ls /etc/issue 2>/dev/null; printf "%s" "$GIVEN"; ls /srv';
    expect(await said(first, look)).toBe('one\n2\nyesa\nhard\n');
    expect(await said(second, look)).toBe('one\ntwo\n2\nyesb\nhard\n');
    expect(await read(`/snapshots/${taken.id}/lineage`)).toMatchObject({
      parent: { id: base.id, name: 'base' },
      sourceSandbox: { id: sandbox.id, state: 'stopped' },
      childrenTotal: 0,
      sandboxes: [{ id: first.id, state: 'started' }],
      sandboxesTotal: 1,
    });
    await sandbox.delete();
    await sdk.removeSnapshot(name('started'));
    // What was made of it goes on, and its name is free.
    expect(await said(first, 'cat /srv/hard')).toBe('one\n');
    await second.capture(name('started'));
    for (const each of [first, second]) await each.delete();
  });

  test('a fork has the files and goes its own way, also when its parent is gone', async () => {
    const sdk = connect();
    const parent = await sdk.create({ labels: { suite: 'forks' } });
    await said(parent, 'echo 0123456789abcdef0123456789abcdef > /etc/machine-id; echo shared > /srv/file');
    const child = await parent.fork({ name: name('child') });
    expect(child).toMatchObject({ state: 'started', name: name('child') });
    expect(child.labels).toMatchObject({ suite: 'forks' });
    await said(child, 'echo own >> /srv/file');
    const grandchild = await child.fork();
    expect(await said(grandchild, 'cat /srv/file')).toBe('shared\nown\n');
    expect(await said(parent, 'cat /srv/file')).toBe('shared\n');
    const machines = await Promise.all(
      [parent, child, grandchild].map((each) => said(each, 'cat /etc/machine-id; hostname')),
    );
    expect(new Set(machines.flatMap((text) => text.trim().split('\n'))).size).toBe(6);

    expect(await idsAt(`/sandbox/${parent.id}/forks`)).toEqual([child.id]);
    expect(await read(`/sandbox/${grandchild.id}/parent`)).toMatchObject({ id: child.id });
    expect(await idsAt(`/sandbox/${grandchild.id}/ancestors`)).toEqual([child.id, parent.id]);
    await parent.delete();
    expect((await darkroom.api(`/sandbox/${child.id}/parent`)).status).toBe(404);
    expect(await idsAt(`/sandbox/${grandchild.id}/ancestors`)).toEqual([child.id]);
    expect(await said(child, 'cat /srv/file')).toBe('shared\nown\n');
    for (const each of [child, grandchild]) await each.delete();
  });

  test('what fails is an error of the SDK that says why, and the sandbox goes on', async () => {
    const sdk = connect();
    const sandbox = await sdk.create();
    const taken = await failureOf(sandbox.capture('base'));
    expect(taken).toBeInstanceOf(sdk.DaytonaError);
    expect(taken).toMatchObject({ statusCode: 409, message: expect.stringContaining('already exists') });
    const wrong = await failureOf(sandbox.capture('not a name!'));
    expect(wrong).toBeInstanceOf(sdk.DaytonaError);
    expect(wrong).toMatchObject({ statusCode: 400 });
    await sandbox.fork({ name: name('taken') }).then((fork) => fork.delete());
    const fork = await sandbox.fork({ name: name('taken') });
    const again = await failureOf(sandbox.fork({ name: name('taken') }));
    expect(again).toMatchObject({ statusCode: 409, message: expect.stringContaining('already exists') });
    for (const call of [sandbox.capture(name('late'), 0.001), sandbox.fork({ name: name('late') }, 0.001)]) {
      expect(await failureOf(call)).toBeInstanceOf(sdk.DaytonaError);
    }
    expect(await failureOf(sandbox.capture(name('never'), -1))).toMatchObject({
      message: expect.stringContaining('non-negative'),
    });
    expect(await said(sandbox, 'echo goes on')).toBe('goes on\n');
    for (const each of [fork, sandbox]) await each.delete();
  });
});
