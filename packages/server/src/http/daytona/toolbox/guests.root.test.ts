import type { Sandbox } from '@daytona/sdk';
import { beforeAll, expect, test } from 'vitest';
import WebSocket from 'ws';
import { fileSignature } from '../../../sandboxes/file-links.ts';
import { busybox } from '../../../test-support/layers.ts';
import { officialClients } from '../../../test-support/official-clients.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox, values: { image: JSON.stringify({ workingDir: '/srv' }) } });
let sandbox: Sandbox;
let other: Sandbox;

beforeAll(async () => {
  const daytona = officialClients(lab).connectNewest();
  sandbox = await daytona.create({ snapshot: 'default' });
  other = await daytona.create({ snapshot: 'default' });
});

/** Without any header that says who asks. */
const statusOf = async (url: string | URL) => (await fetch(url)).status;

function form(content: string): FormData {
  const data = new FormData();
  data.set('file', new Blob([content]), 'any.txt');
  return data;
}

test('a signed URL reads or writes its file, for whoever has it', async () => {
  const up = await fetch(await sandbox.uploadUrl('/srv/a b+ü.txt'), { method: 'POST', body: form('by URL') });
  expect(up.status).toBe(200);
  const down = await fetch(await sandbox.downloadUrl('/srv/a b+ü.txt'));
  expect(await down.text()).toBe('by URL');
  expect(await (await fetch(await sandbox.downloadUrl('/srv/a b+ü.txt', 0))).text()).toBe('by URL');
});

test('and nothing else: no other file, way, sandbox or time', async () => {
  await sandbox.fs.uploadFile(Buffer.from('x'), '/srv/x');
  const good = await sandbox.downloadUrl('/srv/x');
  const changed = (change: (url: URL) => void) => {
    const url = new URL(good);
    change(url);
    return url;
  };
  expect(await statusOf(good)).toBe(200);
  expect(await statusOf(changed((url) => url.searchParams.set('path', '/etc/passwd')))).toBe(401);
  expect(await statusOf(changed((url) => url.searchParams.set('expires', '0')))).toBe(401);
  expect(await statusOf(changed((url) => url.searchParams.set('signature', 'v1_')))).toBe(401);
  expect(await statusOf(changed((url) => url.searchParams.delete('expires')))).toBe(401);
  expect(await statusOf(good.replace(sandbox.id, other.id))).toBe(401);
  expect(await statusOf(good.replace('/files/download', '/files/info'))).toBe(401);
  const upload = good.replace('/files/download', '/files/upload-v2');
  expect((await fetch(upload, { method: 'POST', body: form('y') })).status).toBe(401);
  // Signed by the right key, and too late.
  const answer = await fetch(`${lab.server.url}/api/sandbox/${sandbox.id}/signing-key`, {
    headers: { authorization: `Bearer ${await lab.server.addKey(sandbox.organizationId)}` },
  });
  const key: unknown = await answer.json();
  if (typeof key !== 'string') throw new Error('expected a key');
  const late = { method: 'GET', path: '/srv/x', expires: '1000000000' };
  const signature = fileSignature(key, late);
  expect(
    await statusOf(
      changed((url) => {
        url.searchParams.set('expires', late.expires);
        url.searchParams.set('signature', signature);
      }),
    ),
  ).toBe(401);
});

test('a new signing key ends all that was signed before', async () => {
  await sandbox.fs.uploadFile(Buffer.from('x'), '/srv/x');
  const before = await sandbox.downloadUrl('/srv/x');
  await sandbox.rotateSigningKey();
  expect(await statusOf(before)).toBe(401);
  expect(await statusOf(await sandbox.downloadUrl('/srv/x'))).toBe(200);
});

test('another organization gets no signing key', async () => {
  const key = await lab.server.addKey(await lab.server.addOrganization());
  const answer = await fetch(`${lab.server.url}/api/sandbox/${sandbox.id}/signing-key`, {
    headers: { authorization: `Bearer ${key}` },
  });
  expect(answer.status).toBe(404);
});

test('WebSockets of the toolbox open with the token of port 1, and with no other', async () => {
  const pty = await sandbox.process.createPty({ id: 'guest', onData: () => {} });
  const open = (target: Sandbox, token: string) =>
    new Promise<string>((resolve) => {
      const url = `${lab.server.url.replace('http', 'ws')}/toolbox/${target.id}/process/pty/guest/connect`;
      const socket = new WebSocket(`${url}?DAYTONA_SANDBOX_AUTH_KEY=${token}`);
      socket.once('message', () => {
        resolve('open');
        socket.close();
      });
      socket.once('unexpected-response', (_request, response) => {
        resolve(String(response.statusCode));
        socket.terminate();
      });
      socket.on('error', () => {});
    });
  const { token } = await sandbox.getPreviewLink(1);
  expect(await open(sandbox, token)).toBe('open');
  expect(await open(sandbox, (await sandbox.getPreviewLink(8000)).token)).toBe('401');
  expect(await open(sandbox, (await other.getPreviewLink(1)).token)).toBe('401');
  const plain = `${lab.server.url}/toolbox/${sandbox.id}/process/pty?DAYTONA_SANDBOX_AUTH_KEY=${token}`;
  expect(await statusOf(plain)).toBe(401);
  await pty.kill();
});
