import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { findProgram } from '../../../platform/find-program.ts';
import { httpClient } from '../../../test-support/http-client.ts';
import { busybox } from '../../../test-support/layers.ts';
import { startTestServer, type TestServer } from '../../../test-support/test-server.ts';

/* The server opens files for clients, as root of the machine: what a sandbox prepares must not lead it anywhere else. */
const CANARY = 'a-canary-of-another-organization';
const SECRET = 'of-the-server-alone';

interface Tenant {
  id: string;
  key: string;
  sh(command: string): Promise<string>;
  download(path: string): Promise<{ status: number; text: string }>;
  upload(path: string, content: string): Promise<number>;
}

let server: TestServer;
let attacker: Tenant;
let neighbour: Tenant;

async function tenant(): Promise<Tenant> {
  const organization = await server.addOrganization();
  const key = await server.addKey(organization);
  const client = httpClient(() => server.url, key);
  const snapshot = await server.addSnapshot(organization, busybox);
  const { body } = await client.post('/api/sandbox', { snapshot });
  const id: string = body.id;
  const headers = { authorization: `Bearer ${key}` };
  const url = (route: string, path: string) =>
    `${server.url}/toolbox/${id}/files/${route}?path=${encodeURIComponent(path)}`;
  return {
    id,
    key,
    sh: async (command) => (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result,
    async download(path) {
      const answer = await fetch(url('download', path), { headers });
      return { status: answer.status, text: await answer.text() };
    },
    async upload(path, content) {
      const form = new FormData();
      form.append('file', new Blob([content]));
      const answer = await fetch(url('upload', path), { method: 'POST', headers, body: form });
      await answer.text();
      return answer.status;
    },
  };
}

const program = async () =>
  createHash('sha256')
    .update(await readFile(findProgram('crun')))
    .digest('hex');
let programBefore: string;

beforeAll(async () => {
  process.env.DARKROOM_ESCAPE_TEST = SECRET;
  programBefore = await program();
  server = await startTestServer();
  [attacker, neighbour] = await Promise.all([tenant(), tenant()]);
  await neighbour.sh(`echo ${CANARY} > /root/canary`);
}, 120_000);
afterEach(async () => {
  expect(await neighbour.sh('cat /root/canary')).toBe(`${CANARY}\n`);
  expect(await program()).toBe(programBefore);
});
afterAll(async () => {
  delete process.env.DARKROOM_ESCAPE_TEST;
  await server?.stop();
});

/** Names that mean another thing to the server than to the sandbox. */
const MAGIC = [
  '/proc/self/exe',
  '/proc/1/exe',
  '/proc/self/environ',
  '/proc/self/mem',
  '/proc/self/maps',
  '/proc/self/fd/0',
  '/proc/self/fd/3',
  '/proc/self/fd/20',
  '/proc/1/root/etc/shadow',
  '/proc/1/cwd/etc/shadow',
  '/proc/self/root/etc/shadow',
  '/proc/thread-self/root/etc/shadow',
  '/dev/fd/3',
  '/dev/stdin',
];

test('magic links lead a download to nothing of the server’s, by themselves or behind links of the sandbox', async () => {
  await attacker.sh(`mkdir -p /tmp/l; ${MAGIC.map((path, at) => `ln -sfn ${path} /tmp/l/${at}`).join('; ')}`);
  for (const path of [...MAGIC, ...MAGIC.map((_, at) => `/tmp/l/${at}`)]) {
    const { status, text } = await attacker.download(path);
    expect([path, status >= 400 && status < 500]).toEqual([path, true]);
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain('root:');
  }
});

test('an upload goes through none of them', async () => {
  await attacker.sh('ln -sfn /proc/self/exe /tmp/exe; ln -sfn /proc/self/fd /tmp/fds; ln -sfn /proc/1/root /tmp/root');
  for (const path of [
    ...MAGIC,
    '/tmp/fds/3',
    '/tmp/fds/20',
    '/tmp/root/tmp/x',
    '/proc/1/root/tmp/x',
    '/proc/sys/kernel/core_pattern',
  ]) {
    const status = await attacker.upload(path, 'x');
    expect([path, status >= 400 && status < 500]).toEqual([path, true]);
  }
  // A name beside the link, as every upload: the link is gone, and what it led to is as it was.
  await attacker.upload('/tmp/exe', 'x');
  expect(await attacker.sh('cat /.darkroom/tini | head -c 4 | od -An -c')).toMatch(/177\s+E\s+L\s+F/);
});

test('links with the root of the machine in mind stay in the root of the sandbox', async () => {
  const path = `/${'../'.repeat(20)}etc/hostname`;
  await attacker.sh(
    `ln -sfn ${path} /tmp/up; ln -sfn /etc/shadow /tmp/shadow; ln -sfn / /tmp/top; echo own > /etc/shadow`,
  );
  expect((await attacker.download('/tmp/shadow')).text).toBe('own\n');
  expect((await attacker.download('/tmp/top/tmp/top/etc/shadow')).text).toBe('own\n');
  expect((await attacker.download('/tmp/up')).text).toBe(await attacker.sh('cat /etc/hostname'));
  expect((await attacker.download(path)).text).toBe(await attacker.sh('cat /etc/hostname'));
});

test('hard links to what Darkroom brings along cannot be made, and neither can ones to the runtime', async () => {
  const tries = ['/.darkroom/tini', '/.darkroom/init', '/proc/self/exe', '/proc/1/exe', '/etc/hosts'];
  for (const from of tries) {
    expect([from, await attacker.sh(`ln ${from} /tmp/hard 2>/dev/null || echo refused`)]).toEqual([from, 'refused\n']);
  }
  expect(await attacker.upload('/.darkroom/tini', 'x')).toBe(403);
});

test('one organization’s key opens nothing of another’s sandbox', async () => {
  const headers = { authorization: `Bearer ${attacker.key}` };
  for (const route of ['files/download?path=/root/canary', 'files?path=/root', 'work-dir']) {
    const answer = await fetch(`${server.url}/toolbox/${neighbour.id}/${route}`, { headers });
    expect([route, answer.status, (await answer.text()).includes(CANARY)]).toEqual([route, 404, false]);
  }
});
