import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { httpClient } from '../test-support/http-client.ts';
import { finished, type SshLab, startSshLab } from './testing/ssh-lab.ts';

let lab: SshLab;

beforeAll(async () => {
  lab = await startSshLab();
}, 120_000);
afterEach(() => lab.tidy());
afterAll(() => lab?.stop());

test('wrong, expired and revoked tokens open nothing', async () => {
  const refused = { code: 255, stderr: expect.stringContaining('Permission denied') };
  expect(await finished(lab.startSsh(['id'], [], 'a'.repeat(48)))).toMatchObject(refused);
  const { token: brief, id: access } = await lab.newAccess('?expiresInMinutes=60');
  const past = new Date(Date.now() - 1000);
  await lab.server.db.updateTable('ssh_accesses').set({ expires_at: past }).where('id', '=', access).execute();
  expect(await finished(lab.startSsh(['id'], [], brief))).toMatchObject(refused);
});

test('a revoked token ends its connections at once, and others stay', async () => {
  const { token: revoked } = await lab.newAccess();
  const child = lab.startSsh(['echo ready; exec sleep 1000'], [], revoked);
  const closed = once(child, 'close');
  const other = lab.startSsh(['echo ready; exec cat']);
  await Promise.all([child, other].map(({ stdout }) => stdout && once(stdout, 'data')));
  const answer = await lab.client.delete(`/api/sandbox/${lab.id}/ssh-access?token=${revoked}`);
  expect(answer).toMatchObject({ status: 200, body: { id: lab.id } });
  const [code] = await closed;
  expect(code).toBe(255);
  expect((await lab.client.get(`/api/sandbox/ssh-access/validate?token=${revoked}`)).body.valid).toBe(false);
  expect((await finished(other, 'still here')).code).toBe(0);
});

test('a connection ends when its token runs out', async () => {
  const { token: brief } = await lab.newAccess('?expiresInMinutes=0.05');
  const child = lab.startSsh(['exec sleep 1000'], [], brief);
  const [code] = await once(child, 'close');
  expect(code).toBe(255);
});

test('a sandbox that does not run says so', async () => {
  const other = (await lab.client.post('/api/sandbox', { snapshot: lab.snapshot })).body.id;
  const { token: own } = await lab.newAccess('', other);
  await lab.client.post(`/api/sandbox/${other}/stop`);
  const refused = await finished(lab.startSsh(['id'], [], own));
  expect(refused).toMatchObject({ code: 255, stderr: expect.stringContaining('its state is stopped') });
  await lab.client.post(`/api/sandbox/${other}/start`);
  expect((await finished(lab.startSsh(['id -un'], [], own))).stdout).toBe('app\n');
  await lab.client.delete(`/api/sandbox/${other}`);
  expect((await finished(lab.startSsh(['id'], [], own))).stderr).toContain('Permission denied');
});

test('the Python clients revoke one token by the header of the organization, and no other header passes', async () => {
  const [first, second] = [await lab.newAccess(), await lab.newAccess()];
  const path = `/api/sandbox/${lab.id}/ssh-access`;
  const revoke = (header: string) =>
    lab.client.send('DELETE', path, { headers: { 'x-daytona-organization-id': header } });
  expect((await revoke(crypto.randomUUID())).status).toBe(403);
  expect((await revoke(first.token)).status).toBe(200);
  const validate = async (token: string) =>
    (await lab.client.get(`/api/sandbox/ssh-access/validate?token=${token}`)).body;
  expect([(await validate(first.token)).valid, (await validate(second.token)).valid]).toEqual([false, true]);
});

test('tokens belong to one organization, and bad requests are refused', async () => {
  expect((await lab.client.get(`/api/sandbox/ssh-access/validate?token=${lab.token}`)).body).toEqual({
    valid: true,
    sandboxId: lab.id,
  });
  const stranger = httpClient(() => lab.server.url, await lab.server.addKey(await lab.server.addOrganization()));
  expect((await stranger.get(`/api/sandbox/ssh-access/validate?token=${lab.token}`)).body).toEqual({
    valid: false,
    sandboxId: '',
  });
  expect((await stranger.post(`/api/sandbox/${lab.id}/ssh-access`)).status).toBe(404);
  expect((await stranger.delete(`/api/sandbox/${lab.id}/ssh-access?token=${lab.token}`)).status).toBe(404);
  expect((await lab.client.post(`/api/sandbox/${lab.id}/ssh-access?expiresInMinutes=0`)).status).toBe(400);
  expect((await lab.client.post(`/api/sandbox/${lab.id}/ssh-access?expiresInMinutes=x`)).status).toBe(400);
  const { sshCommand, expiresAt } = await lab.newAccess('?expiresInMinutes=10');
  expect(sshCommand).toMatch(new RegExp(`^ssh -p ${lab.server.ssh.address.port} [0-9a-f]{48}@127\\.0\\.0\\.1$`));
  expect(new Date(expiresAt).getTime() - Date.now()).toBeLessThanOrEqual(600_000);
});

test('a sandbox has at most a thousand tokens that are valid', async () => {
  const other = (await lab.client.post('/api/sandbox', { snapshot: lab.snapshot })).body.id;
  const hashes = Array.from({ length: 1_000 }, (_, at) => createHash('sha256').update(`${at}`).digest());
  const expires = (at: Date) =>
    hashes.map((hash) => ({ hash, organization_id: lab.organizationId, sandbox_id: other, expires_at: at }));
  await lab.server.db
    .insertInto('ssh_accesses')
    .values(expires(new Date(Date.now() + 60_000)))
    .execute();
  expect((await lab.client.post(`/api/sandbox/${other}/ssh-access`)).status).toBe(429);
  expect((await lab.client.post(`/api/sandbox/${lab.id}/ssh-access`)).status).toBe(200);
  const past = new Date(Date.now() - 1000);
  await lab.server.db.updateTable('ssh_accesses').set({ expires_at: past }).where('sandbox_id', '=', other).execute();
  expect((await lab.client.post(`/api/sandbox/${other}/ssh-access`)).status).toBe(200);
  await lab.client.delete(`/api/sandbox/${other}`);
});

test('a stop of the sandbox ends its sessions', async () => {
  const other = (await lab.client.post('/api/sandbox', { snapshot: lab.snapshot })).body.id;
  const { token: own } = await lab.newAccess('', other);
  const child = lab.startSsh(['echo ready; exec sleep 1000'], [], own);
  const closed = once(child, 'close');
  if (child.stdout) await once(child.stdout, 'data');
  await lab.client.post(`/api/sandbox/${other}/stop?force=true`);
  const [code] = await closed;
  expect(code).not.toBe(0);
  await lab.client.delete(`/api/sandbox/${other}`);
});

test('a connection counts as use of the sandbox', async () => {
  const create = async (): Promise<string> =>
    (await lab.client.post('/api/sandbox', { snapshot: lab.snapshot })).body.id;
  const [used, unused] = await Promise.all([create(), create()]);
  const child = lab.startSsh(['echo ready; exec sleep 1000'], [], (await lab.newAccess('', used)).token);
  if (child.stdout) await once(child.stdout, 'data');
  await lab.server.db
    .updateTable('sandboxes')
    .set({ last_activity_at: new Date(Date.now() - 3_600_000), auto_stop_interval: 1 })
    .where('id', 'in', [used, unused])
    .execute();
  // One that is due at once makes the server look at all of them.
  const third = await create();
  await lab.client.post(`/api/sandbox/${third}/stop`);
  await lab.client.post(`/api/sandbox/${third}/autodelete/0`);
  const stateOf = async (sandbox: string) => (await lab.client.get(`/api/sandbox/${sandbox}`)).body.state;
  await expect.poll(() => stateOf(unused), { timeout: 30_000 }).toBe('stopped');
  expect(await stateOf(used)).toBe('started');
  child.kill();
  for (const sandbox of [used, unused]) await lab.client.delete(`/api/sandbox/${sandbox}`);
});

test('tokens and the host key outlive the server, whose stop ends every connection', async () => {
  const before = lab.server.ssh.hostKey.fingerprint;
  const forwarding = connect(lab.server.ssh.address.port, '127.0.0.1');
  await once(forwarding, 'connect');
  forwarding.on('error', () => {});
  const gone = once(forwarding.resume(), 'close');
  await lab.server.restart();
  await gone;
  expect(lab.server.ssh.hostKey.fingerprint).toBe(before);
  await lab.learnHostKey();
  const child = lab.startSsh(['echo ready; exec sleep 1000']);
  const closed = once(child, 'close');
  if (child.stdout) await once(child.stdout, 'data');
  await lab.server.restart();
  const [code] = await closed;
  expect(code).toBe(255);
});

test('many wrong tokens close the door for a while, for their address', async () => {
  for (let left = 12; left > 0; left--) await finished(lab.startSsh(['id'], [], 'b'.repeat(48)));
  const refused = await finished(lab.startSsh(['id']));
  expect(refused.code).toBe(255);
  expect(refused.stderr).not.toContain('Permission denied');
});
