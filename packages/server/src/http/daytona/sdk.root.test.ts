import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as newest from '@daytona/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { python } from '../../test-support/layers.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'darkroom-sdk-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));
const lab = setUpServer({ layer: python });
const { clients } = officialClients(lab);

describe.each(clients)('%s', (_name, connect) => {
  test('runs a sandbox through its life', async () => {
    const daytona = connect();
    const sandbox = await daytona.create({ envVars: { GREETING: 'hello' }, labels: { team: 'a' } });
    expect(sandbox).toMatchObject({ state: 'started', snapshot: 'default', user: 'root' });
    expect((await daytona.get(sandbox.id)).id).toBe(sandbox.id);

    const listed = [];
    for await (const item of daytona.list({ labels: { team: 'a' } })) listed.push(item.id);
    expect(listed).toEqual([sandbox.id]);

    expect(await sandbox.setLabels({ team: 'b' })).toEqual({ team: 'b' });
    await sandbox.setAutostopInterval(60);
    await sandbox.setAutoArchiveInterval(60);
    await sandbox.setAutoDeleteInterval(120);
    await sandbox.refreshActivity();
    await sandbox.refreshData();
    expect(sandbox).toMatchObject({ labels: { team: 'b' }, autoStopInterval: 60, autoDeleteInterval: 120 });

    await sandbox.fs.uploadFile(Buffer.from('kept'), 'kept.txt');
    await sandbox.stop();
    expect(sandbox.state).toBe('stopped');
    await sandbox.start();
    expect(sandbox.state).toBe('started');
    expect((await sandbox.fs.downloadFile('kept.txt')).toString()).toBe('kept');
    await sandbox.delete();
    await expect
      .poll(() => daytona.get(sandbox.id).catch((error: { statusCode: number }) => error.statusCode), {
        timeout: 20_000,
      })
      .toBe(404);
  });

  test('runs commands and code, and moves files', async () => {
    const daytona = connect();
    const sandbox = await daytona.create({ language: 'python', envVars: { GREETING: 'hello' } });
    const command = await sandbox.process.executeCommand('echo "$GREETING $NAME"; exit 4', '/tmp', { NAME: 'you' }, 10);
    expect(command).toMatchObject({ exitCode: 4, result: 'hello you\n' });
    const code = await sandbox.process.codeRun('import sys; print(sys.argv[1:])', new newest.CodeRunParams(), 10);
    expect(code).toMatchObject({ exitCode: 0, result: '[]\n' });
    await expect(sandbox.process.executeCommand('sleep 100', undefined, undefined, 1)).rejects.toThrow(
      'command execution timeout',
    );
    await expect(sandbox.process.executeCommand('true', '/missing')).rejects.toMatchObject({ statusCode: 400 });

    const local = join(scratch, 'local.bin');
    await writeFile(local, Buffer.alloc(3_000_000, 7));
    await sandbox.fs.uploadFile(local, 'deep/path/a.bin');
    await sandbox.fs.uploadFiles([
      { source: Buffer.from('one'), destination: '/tmp/one.txt' },
      { source: Buffer.from('two'), destination: '/tmp/zwei "ü".txt' },
    ]);
    expect((await sandbox.fs.downloadFile('deep/path/a.bin')).equals(Buffer.alloc(3_000_000, 7))).toBe(true);
    await sandbox.fs.downloadFile('/tmp/one.txt', join(scratch, 'one.txt'));
    expect(await readFile(join(scratch, 'one.txt'), 'utf8')).toBe('one');
    const many = await sandbox.fs.downloadFiles([{ source: '/tmp/zwei "ü".txt' }, { source: '/tmp/missing' }]);
    expect(many[0]?.result?.toString()).toBe('two');
    expect(many[1]?.error).toContain('does not exist');
    expect(await sandbox.fs.getFileDetails('/tmp/one.txt')).toMatchObject({ name: 'one.txt', size: 3, isDir: false });
    expect(await sandbox.getWorkDir()).toBe('/root');
    expect(await sandbox.getUserHomeDir()).toBe('/root');
    await sandbox.delete();
  });

  test('raises its own errors', async () => {
    const daytona = connect();
    await expect(daytona.get('missing')).rejects.toMatchObject({ statusCode: 404 });
    await expect(daytona.create({ snapshot: 'missing' })).rejects.toMatchObject({
      statusCode: 400,
      message:
        'Snapshot missing not found. Did you add it through the Daytona Dashboard? There is none here: daytona.snapshot.create({ name, image }) makes snapshots.',
    });
  });
});
