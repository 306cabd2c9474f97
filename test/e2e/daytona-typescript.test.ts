import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as newest from '@daytona/sdk';
import * as oldest from 'daytona-sdk-0190';
import * as legacy from 'daytona-sdk-legacy';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Darkroom, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { expectSnapshotDto } from '../support/snapshot-dto.ts';

/**
 * The official SDKs, unmodified, pointed at our server: every call of the snapshot service's documents, and the sandbox,
 * process and file calls that people start with.
 */
let darkroom: Darkroom;
let workspace: string;

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'darkroom-sdk-'));
  darkroom = await startDarkroom({
    config: { registries: { mirrors: { 'docker.io': [inject('registryUrl')] } }, defaultSnapshot: 'default' },
  });
});

afterAll(async () => {
  await darkroom?.destroy();
  await rm(workspace, { recursive: true, force: true });
});

type Connection = { apiKey: string; apiUrl: string };

// The three declare the same classes, each with a brand of its own: what takes a snapshot back is written out for each.
const sdks = {
  '@daytonaio/sdk 0.190.1': {
    sdk: oldest,
    remove: async (connection: Connection, name: string) => {
      const { snapshot } = new oldest.Daytona(connection);
      await snapshot.delete(await snapshot.get(name));
    },
    activate: async (connection: Connection, name: string) => {
      const { snapshot } = new oldest.Daytona(connection);
      return (await snapshot.activate(await snapshot.get(name))).state;
    },
  },
  '@daytonaio/sdk newest': {
    sdk: legacy,
    remove: async (connection: Connection, name: string) => {
      const { snapshot } = new legacy.Daytona(connection);
      await snapshot.delete(await snapshot.get(name));
    },
    activate: async (connection: Connection, name: string) => {
      const { snapshot } = new legacy.Daytona(connection);
      return (await snapshot.activate(await snapshot.get(name))).state;
    },
  },
  '@daytona/sdk newest': {
    sdk: newest,
    remove: async (connection: Connection, name: string) => {
      const { snapshot } = new newest.Daytona(connection);
      await snapshot.delete(await snapshot.get(name));
    },
    activate: async (connection: Connection, name: string) => {
      const { snapshot } = new newest.Daytona(connection);
      return (await snapshot.activate(await snapshot.get(name))).state;
    },
  },
};

describe.each(Object.entries(sdks))('%s', (label, { sdk, remove, activate }) => {
  const prefix = label.replace(/[^a-z0-9.]+/g, '-').replace(/^-/, '');
  const connection = () => ({ apiKey: darkroom.apiKey, apiUrl: `${darkroom.url}/api` });
  const connect = () => new sdk.Daytona(connection());

  describe('snapshots', () => {
    const name = `${prefix}/python:3.11`;

    test('create reports its states, pulls the image and resolves with an active snapshot', async () => {
      const logs: string[] = [];
      const snapshot = await connect().snapshot.create(
        { name, image: inject('baseImage'), resources: { cpu: 1, memory: 1, disk: 3 } },
        { onLogs: (chunk: string) => logs.push(chunk), timeout: 120 },
      );
      expectSnapshotDto(snapshot);
      expect(snapshot).toMatchObject({
        name,
        state: 'active',
        cpu: 1,
        mem: 1,
        disk: 3,
        imageName: inject('baseImage'),
      });
      expect(snapshot.size).toBeGreaterThan(0.05);
      expect(logs[0]).toMatch(/^Creating snapshot/);
      expect(logs.at(-1)).toBe(`Created snapshot ${name} (active)`);
    });

    test('get finds it by a name with slash and colon', async () => {
      const snapshot = await connect().snapshot.get(name);
      expectSnapshotDto(snapshot);
      expect(`${snapshot.name} is in state ${snapshot.state}`).toBe(`${name} is in state active`);
    });

    test('list has it, whole and by page', async () => {
      const all = await connect().snapshot.list();
      expect(all.items.map((item) => item.name)).toContain(name);
      for (const item of all.items) expectSnapshotDto(item);
      const page = await connect().snapshot.list(1, 1);
      expect(page).toMatchObject({ page: 1, total: all.total, totalPages: all.total });
      expect(page.items).toHaveLength(1);
    });

    test('an unknown name is a DaytonaNotFoundError', async () => {
      const failure = await connect()
        .snapshot.get('no-such-snapshot')
        .catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(sdk.DaytonaNotFoundError);
      expect(failure).toMatchObject({ statusCode: 404, message: 'Snapshot with name no-such-snapshot not found' });
    });

    test('a name that is taken is a conflict, a tag that is missing a validation error', async () => {
      const taken = await connect()
        .snapshot.create({ name, image: inject('baseImage') })
        .catch((error: unknown) => error);
      expect(taken).toMatchObject({ statusCode: 409, message: expect.stringContaining('already exists') });
      const untagged = await connect()
        .snapshot.create({ name: `${prefix}-x`, image: 'python' })
        .catch((error: unknown) => error);
      expect(untagged).toBeInstanceOf(sdk.DaytonaValidationError);
    });

    test('an image that does not exist fails with a reason', async () => {
      const failure = await connect()
        .snapshot.create({ name: `${prefix}-missing`, image: 'no/such-image:1.0' })
        .catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(sdk.DaytonaError);
      expect(String(failure)).toMatch(/Reason: .*no\/such-image/);
    });

    test('an explicit entrypoint is kept', async () => {
      const snapshot = await connect().snapshot.create({
        name: `${prefix}-entry`,
        image: inject('baseImage'),
        entrypoint: ['sleep', '600'],
      });
      expect(snapshot.entrypoint).toEqual(['sleep', '600']);
    });

    test('activate brings an inactive one back at once', async () => {
      const snapshot = await connect().snapshot.get(`${prefix}-entry`);
      expect((await darkroom.api(`/snapshots/${snapshot.id}/deactivate`, { method: 'POST' })).status).toBe(204);
      expect((await connect().snapshot.get(snapshot.name)).state).toBe('inactive');
      const refused = await connect()
        .create({ snapshot: snapshot.name })
        .catch((error: unknown) => error);
      expect(refused).toMatchObject({
        statusCode: 400,
        message: expect.stringContaining(`Snapshot ${snapshot.name} is inactive`),
      });
      expect(await activate(connection(), snapshot.name)).toBe('active');
    });

    test('delete frees the name at once', async () => {
      const daytona = connect();
      const snapshot = await daytona.snapshot.get(`${prefix}-entry`);
      await remove(connection(), snapshot.name);
      await expect(daytona.snapshot.get(snapshot.name)).rejects.toBeInstanceOf(sdk.DaytonaNotFoundError);
      const again = await daytona.snapshot.create({ name: snapshot.name, image: inject('baseImage') });
      expect(again.id).not.toBe(snapshot.id);
      await remove(connection(), again.name);
    });

    test('a wrong key is a DaytonaAuthenticationError', async () => {
      const stranger = new sdk.Daytona({ apiKey: `dtn_${'0'.repeat(64)}`, apiUrl: `${darkroom.url}/api` });
      await expect(stranger.snapshot.list()).rejects.toBeInstanceOf(sdk.DaytonaAuthenticationError);
    });
  });

  describe('sandboxes', () => {
    const snapshot = `${prefix}/python:3.11`;

    test('create starts one that runs Python code', async () => {
      const daytona = connect();
      const sandbox = await daytona.create({ snapshot, labels: { suite: prefix }, envVars: { GREETING: 'hello' } });
      try {
        expect(sandbox.state).toBe('started');
        const run = await sandbox.process.codeRun('import os\nprint(os.environ["GREETING"], 6 * 7)');
        expect(run).toMatchObject({ exitCode: 0, result: expect.stringContaining('hello 42') });
      } finally {
        await sandbox.delete();
      }
      // It may show as `destroying` for a moment; then nobody knows it any more.
      const last = await eventually('the sandbox is gone', async () => {
        const found = await daytona.get(sandbox.id).catch((error: unknown) => error);
        return found instanceof Error ? found : undefined;
      });
      expect(last).toBeInstanceOf(sdk.DaytonaNotFoundError);
    });

    test('commands have exit codes, directories, variables and time-outs', async () => {
      const daytona = connect();
      const sandbox = await daytona.create({ snapshot });
      try {
        const { process } = sandbox;
        expect(await process.executeCommand('echo out; echo err >&2; exit 7')).toMatchObject({
          exitCode: 7,
          result: 'out\nerr\n',
        });
        expect((await process.executeCommand('pwd', '/tmp')).result.trim()).toBe('/tmp');
        expect(
          (await process.executeCommand('echo "$A-$B"', undefined, { A: '1', B: 'two words' })).result.trim(),
        ).toBe('1-two words');
        const late = await process
          .executeCommand('sleep 600 & setsid sleep 601 & wait', undefined, undefined, 1)
          .catch((error: unknown) => error);
        expect(late).toBeInstanceOf(sdk.DaytonaError);
        expect(String(late)).toContain('timeout');
        // Nothing of the command's tree is left, not even what changed its session.
        const left = await process.executeCommand("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 60[01]'");
        expect(left.result.trim()).toBe('0');
      } finally {
        await sandbox.delete();
      }
    });

    test('files go up and come down unchanged', async () => {
      const daytona = connect();
      const sandbox = await daytona.create({ snapshot });
      try {
        const content = randomBytes(3 * 1024 * 1024);
        await sandbox.fs.uploadFile(content, '/data/deep/random.bin');
        expect(Buffer.compare(await sandbox.fs.downloadFile('/data/deep/random.bin'), content)).toBe(0);

        const source = join(workspace, `${prefix}.txt`);
        await writeFile(source, 'grüße\n');
        await sandbox.fs.uploadFile(source, 'relative.txt');
        await sandbox.fs.downloadFile('relative.txt', `${source}.back`);
        expect(await readFile(`${source}.back`, 'utf8')).toBe('grüße\n');

        await sandbox.fs.uploadFiles([
          { source: Buffer.from('a'), destination: '/data/a' },
          { source: Buffer.from('b'), destination: '/data/b' },
        ]);
        expect((await sandbox.process.executeCommand('cat /data/a /data/b')).result).toBe('ab');
        await expect(sandbox.fs.downloadFile('/no/such/file')).rejects.toThrow();
      } finally {
        await sandbox.delete();
      }
    });

    test('stop and start keep the files', async () => {
      const daytona = connect();
      const sandbox = await daytona.create({ snapshot });
      try {
        await sandbox.process.executeCommand('echo kept > /root/note');
        await sandbox.stop();
        expect(sandbox.state).toBe('stopped');
        await sandbox.start();
        expect(sandbox.state).toBe('started');
        expect((await sandbox.process.executeCommand('cat /root/note')).result).toBe('kept\n');
      } finally {
        await sandbox.delete();
      }
    });

    test('labels, intervals and activity are kept; the sandbox is found by id and by name', async () => {
      const daytona = connect();
      const sandbox = await daytona.create({
        snapshot,
        name: `${prefix}-box`,
        labels: { a: 'b' },
        autoStopInterval: 30,
      });
      try {
        expect(sandbox.autoStopInterval).toBe(30);
        await sandbox.setLabels({ a: 'c', more: 'yes' });
        await sandbox.setAutostopInterval(45);
        await sandbox.setAutoDeleteInterval(90);
        await sandbox.refreshActivity();
        for (const key of [sandbox.id, `${prefix}-box`]) {
          const found = await daytona.get(key);
          expect(found).toMatchObject({ id: sandbox.id, autoStopInterval: 45, autoDeleteInterval: 90 });
          expect(found.labels).toMatchObject({ a: 'c', more: 'yes' });
        }
      } finally {
        await sandbox.delete();
      }
    });

    test('a snapshot that does not exist is refused with a reason', async () => {
      const failure = await connect()
        .create({ snapshot: 'nowhere' })
        .catch((error: unknown) => error);
      expect(failure).toMatchObject({
        statusCode: 400,
        message: expect.stringContaining('Snapshot nowhere not found'),
      });
    });
  });
});
