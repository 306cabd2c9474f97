import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import * as newest from '@daytona/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { busybox } from '../../test-support/layers.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'darkroom-sdk-files-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));
const lab = setUpServer({ layer: busybox });
const { clients, connectNewest } = officialClients(lab);

describe.each(clients)('%s', (_name, connect) => {
  test('does all that it can do with files', async () => {
    const sandbox = await connect().create();
    const { fs } = sandbox;
    await fs.createFolder('project/src', '750');
    await fs.uploadFiles([
      { source: Buffer.from('const a = 1; // TODO: one\n'), destination: 'project/src/a.ts' },
      { source: Buffer.from('# TODO: read me\nTODO: more\n'), destination: 'project/read "me" ü.md' },
    ]);
    expect(await fs.getFileDetails('project/src')).toMatchObject({
      name: 'src',
      isDir: true,
      permissions: '0750',
      owner: 'root',
    });
    const listed = await fs.listFiles('project');
    expect(listed.map(({ name, isDir }) => [name, isDir])).toEqual([
      ['read "me" ü.md', false],
      ['src', true],
    ]);
    expect(new Date(listed[0]?.modTime ?? '').getTime()).toBeGreaterThan(Date.now() - 60_000);

    expect((await fs.searchFiles('project', '*.ts')).files).toEqual(['/root/project/src/a.ts']);
    const matches = await fs.findFiles('project', 'TODO:');
    expect(matches.map(({ file, line, content }) => `${file}:${line}:${content}`).sort()).toEqual([
      '/root/project/read "me" ü.md:1:# TODO: read me',
      '/root/project/read "me" ü.md:2:TODO: more',
      '/root/project/src/a.ts:1:const a = 1; // TODO: one',
    ]);
    const replaced = await fs.replaceInFiles(['project/src/a.ts', 'project/none'], 'TODO', 'DONE');
    expect(replaced).toMatchObject([{ file: 'project/src/a.ts', success: true }, { success: false }]);

    await fs.setFilePermissions('project/src/a.ts', { owner: 'app', group: 'app', mode: '640' });
    await fs.moveFiles('project/src/a.ts', 'project/b.ts');
    expect(await fs.getFileDetails('project/b.ts')).toMatchObject({ owner: 'app', group: 'app', mode: '-rw-r-----' });
    expect((await fs.downloadFile('project/b.ts')).toString()).toBe('const a = 1; // DONE: one\n');
    const [there, missing] = await fs.downloadFiles([
      { source: 'project/read "me" ü.md', destination: join(scratch, 'read.md') },
      { source: 'project/none' },
    ]);
    expect(there?.error).toBeUndefined();
    expect(await readFile(join(scratch, 'read.md'), 'utf8')).toContain('TODO: more');
    expect(missing?.error).toContain('does not exist');

    await fs.deleteFile('project/b.ts');
    await expect(fs.deleteFile('project')).rejects.toMatchObject({ statusCode: 400 });
    await fs.deleteFile('project', true);
    await expect(fs.listFiles('project')).rejects.toMatchObject({ statusCode: 404 });
    await expect(fs.downloadFile('project/b.ts')).rejects.toThrow('does not exist');
    await expect(fs.getFileDetails('project')).rejects.toMatchObject({ statusCode: 404 });
    await sandbox.delete();
  });
});

describe('@daytona/sdk newest', () => {
  const connect = () => connectNewest();

  test('streams up and down, tells of progress, and can be stopped', async () => {
    const sandbox = await connect().create();
    const { fs } = sandbox;
    const content = Buffer.alloc(5_000_000, 'streamed ');
    await writeFile(join(scratch, 'large'), content);
    let sent = 0;
    await fs.uploadFileStream(createReadStream(join(scratch, 'large')), 'large', {
      onProgress: ({ bytesSent }) => {
        sent = bytesSent;
      },
    });
    expect(sent).toBe(content.length);
    expect((await buffer(await fs.downloadFileStream('large'))).equals(content)).toBe(true);

    const controller = new AbortController();
    const endless = Readable.from(
      (async function* () {
        for (let count = 0; ; count += 1) {
          if (count === 20) controller.abort();
          yield Buffer.alloc(100_000);
        }
      })(),
    );
    await expect(fs.uploadFileStream(endless, 'stopped/file', { signal: controller.signal })).rejects.toThrow();
    // The server hears of it a moment later; what it had received never gets the name.
    await expect
      .poll(async () => (await fs.listFiles('stopped').catch(() => [])).map(({ name }) => name), { timeout: 20_000 })
      .toEqual([]);

    await fs.createFolder('tree/a/b', '755');
    expect((await fs.listFiles('tree', { depth: 2 })).map(({ path }) => path)).toEqual([
      '/root/tree/a',
      '/root/tree/a/b',
    ]);
    await sandbox.delete();
  });

  test('has its own classes for what goes wrong', async () => {
    const sandbox = await connect().create();
    const { fs } = sandbox;
    await expect(fs.downloadFile('none')).rejects.toBeInstanceOf(newest.DaytonaFileNotFoundError);
    await expect(fs.getFileDetails('none')).rejects.toBeInstanceOf(newest.DaytonaNotFoundError);
    await expect(fs.downloadFile('/proc/version')).rejects.toBeInstanceOf(newest.DaytonaFileAccessDeniedError);
    await expect(fs.listFiles('/etc/passwd')).rejects.toBeInstanceOf(newest.DaytonaBadRequestError);
    const stream = fs.downloadFileStream('none').then((opened) => text(opened));
    await expect(stream).rejects.toBeInstanceOf(newest.DaytonaFileNotFoundError);
    await sandbox.delete();
  });
});
