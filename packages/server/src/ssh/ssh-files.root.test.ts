import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { shiftOwners } from '../test-support/root-file-system.ts';
import { TEST_ID_BASE } from '../test-support/test-server.ts';
import { packet, REQUEST, RESPONSE, STATUS, string, uint32 } from './sftp/wire.ts';
import { digestOf, finished, type SshLab, startSshLab } from './testing/ssh-lab.ts';

let lab: SshLab;

beforeAll(async () => {
  lab = await startSshLab();
}, 120_000);
afterEach(() => lab.tidy());
afterAll(() => lab?.stop());

test('scp copies both ways, whole trees, and as old clients do it', async () => {
  const content = randomBytes(5_000_000);
  const tree = join(lab.scratch, 'tree');
  await mkdir(join(tree, 'deep'), { recursive: true });
  await writeFile(join(tree, 'deep', 'file ü.bin'), content);
  await writeFile(join(tree, 'script'), '#!/bin/sh\necho ran\n');
  await chmod(join(tree, 'script'), 0o750);
  expect(await lab.scp('-r', '-p', tree, lab.remote('copied'))).toMatchObject({ code: 0, stderr: '' });
  expect((await lab.ssh('stat -c "%a %U" copied/script; copied/script')).stdout).toBe('750 app\nran\n');
  expect((await lab.ssh('sha256sum < "copied/deep/file ü.bin"')).stdout.slice(0, 64)).toBe(digestOf(content));
  expect(await lab.scp('-r', lab.remote('copied'), join(lab.scratch, 'back'))).toMatchObject({ code: 0, stderr: '' });
  expect(digestOf(await readFile(join(lab.scratch, 'back', 'deep', 'file ü.bin')))).toBe(digestOf(content));
  expect(await lab.scp(lab.remote('/no/where'), join(lab.scratch, 'none'))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('No such file'),
  });
  // Old clients run scp in the sandbox, which this image lacks.
  expect((await lab.scp('-O', join(tree, 'script'), lab.remote('old'))).code).not.toBe(0);
});

test('sftp does what people do with files', async () => {
  const content = randomBytes(3_000_000);
  await writeFile(join(lab.scratch, 'up.bin'), content);
  await symlink('up.bin', join(lab.scratch, 'link'));
  const batch = [
    'pwd',
    'mkdir work',
    'cd work',
    `put ${join(lab.scratch, 'up.bin')} a`,
    'chmod 600 a',
    'ls -la',
    'symlink a alias',
    'rename a b',
    'ln -s /etc/passwd outside',
    `put ${join(lab.scratch, 'up.bin')} c`,
    'rename b c',
    `get c ${join(lab.scratch, 'down.bin')}`,
    'rm alias',
    'mkdir empty',
    'rmdir empty',
    `get -p outside ${join(lab.scratch, 'passwd')}`,
  ];
  const done = await lab.sftp(`${batch.join('\n')}\n`);
  expect(done.stderr).toBe('');
  expect(done.code).toBe(0);
  expect(done.stdout).toContain('Remote working directory: /home/app');
  expect(done.stdout).toMatch(/-rw------- .* app +app +3000000 .* a\n/);
  expect((await readFile(join(lab.scratch, 'down.bin'))).equals(content)).toBe(true);
  expect(await readFile(join(lab.scratch, 'passwd'), 'utf8')).toContain('app:x:1000');
  expect((await lab.ssh('ls -A work; readlink work/outside')).stdout).toBe('c\noutside\n/etc/passwd\n');
});

test.each([
  ['rmdir work-full', 'work-full'],
  ['rm missing', 'missing'],
  ['mkdir work-full', 'work-full'],
  ['get /etc', 'etc'],
  ['cd missing', 'No such file'],
])('%s fails with words', async (command, word) => {
  await lab.ssh('mkdir -p work-full; touch work-full/file');
  const failed = await lab.sftp(`${command}\n`);
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain(word);
});

test('files of an image without any program can be worked with, and the lack of a shell is told', async () => {
  const empty = await lab.server.addSnapshot(lab.organizationId, {
    name: 'empty',
    fill: (directory) => shiftOwners(directory, TEST_ID_BASE).catch(() => {}),
  });
  const bare = (await lab.client.post('/api/sandbox', { snapshot: empty })).body.id;
  const { token: own } = await lab.newAccess('', bare);
  await writeFile(join(lab.scratch, 'small'), 'content');
  const copied = join(lab.scratch, 'small-back');
  expect(await lab.scp(join(lab.scratch, 'small'), `${own}@127.0.0.1:/small`)).toMatchObject({ code: 0, stderr: '' });
  expect(await lab.scp(`${own}@127.0.0.1:small`, copied)).toMatchObject({ code: 0, stderr: '' });
  expect(await readFile(copied, 'utf8')).toBe('content');
  const refused = await finished(lab.startSsh(['id'], [], own));
  expect(refused).toMatchObject({ code: 255, stderr: expect.stringContaining('no shell') });
  await lab.client.delete(`/api/sandbox/${bare}`);
});

test('requests of sftp that are none are answered or end it, and nothing else', async () => {
  const init = packet(REQUEST.INIT, uint32(3));
  const talk = async (...packets: Buffer[]) =>
    (await finished(lab.startSsh(['sftp'], ['-s']), Buffer.concat([init, ...packets]))).bytes;
  const codeOf = (bytes: Buffer) => {
    const version = bytes.readUInt32BE(0) + 4;
    expect(bytes[4]).toBe(RESPONSE.VERSION);
    if (bytes.length === version) return 'ended';
    expect(bytes[version + 4]).toBe(RESPONSE.STATUS);
    return bytes.readUInt32BE(version + 9);
  };
  const handle = string(Buffer.from('made up'));
  expect(codeOf(await talk(packet(99, uint32(1))))).toBe(STATUS.OP_UNSUPPORTED);
  expect(codeOf(await talk(packet(REQUEST.READ, uint32(1), handle, uint32(0))))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.WRITE, uint32(1), handle, Buffer.alloc(12))))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.CLOSE, uint32(1), handle)))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.STAT, uint32(1), string(Buffer.from('a\0b')))))).toBe(STATUS.FAILURE);
  expect(codeOf(await talk(packet(REQUEST.OPEN, uint32(1), uint32(0xffffffff))))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.READ)))).toBe('ended');
  expect(codeOf(await talk(Buffer.alloc(4, 0xff)))).toBe('ended');
  expect((await lab.ssh('echo well')).stdout).toBe('well\n');
});
