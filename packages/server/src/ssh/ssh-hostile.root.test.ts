import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import ssh2, { type Client, type SFTPWrapper } from 'ssh2';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { finished, type SshLab, startSshLab } from './testing/ssh-lab.ts';

let lab: SshLab;
beforeAll(async () => {
  lab = await startSshLab();
}, 120_000);
afterEach(() => lab.tidy());
afterAll(() => lab?.stop());

const port = () => lab.server.ssh.address.port;

/** The lists of algorithms in the server's first packet (RFC 4253, 7.1). */
async function offered(): Promise<string[]> {
  const socket = connect(port(), '127.0.0.1');
  socket.write('SSH-2.0-test\r\n');
  let bytes = Buffer.alloc(0);
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, piece]);
    const start = bytes.indexOf('\r\n') + 2;
    if (start < 2 || bytes.length < start + 4 || bytes.length < start + 4 + bytes.readUInt32BE(start)) continue;
    socket.destroy();
    let at = start + 4 + 1 + 1 + 16;
    return Array.from({ length: 8 }, () => {
      const length = bytes.readUInt32BE(at);
      at += 4 + length;
      return bytes.toString('latin1', at - length, at);
    });
  }
  throw new Error('no algorithms came');
}

test('nothing weak is offered, and nothing that costs the server much more than its client', async () => {
  const [kex = '', hostKeys, ciphers = '', , macs = '', , compression] = await offered();
  expect(hostKeys).toBe('ssh-ed25519');
  expect(compression).toBe('none');
  expect(
    kex.split(',').filter((name) => !/^(curve25519-sha256|ecdh-sha2-nistp|kex-strict-s|ext-info-s)/.test(name)),
  ).toEqual([]);
  expect(`${kex},${macs}`).not.toMatch(/sha1|md5|diffie/);
  expect(ciphers.split(',').every((name) => /^aes(128|256)-(gcm@openssh\.com|ctr)$/.test(name))).toBe(true);
});

test('one address that says nothing takes some places, and not those of others', async () => {
  const silent: Socket[] = [];
  let closed = 0;
  for (let left = 60; left > 0; left -= 1) {
    const socket = connect(port(), '127.0.0.1').on('error', () => {});
    socket.once('close', () => {
      closed += 1;
    });
    silent.push(socket.resume());
  }
  await expect.poll(() => closed, { timeout: 20_000 }).toBe(60 - 32);
  expect((await finished(lab.startSsh(['id']))).code).toBe(255);
  expect((await finished(lab.startSsh(['id -un'], ['-b', '127.0.0.2']))).stdout).toBe('app\n');
  for (const socket of silent) socket.destroy();
  await expect.poll(async () => (await finished(lab.startSsh(['id -un']))).stdout, { timeout: 20_000 }).toBe('app\n');
});

async function loggedIn(token = lab.token): Promise<Client> {
  const client = new ssh2.Client();
  client.on('error', () => {});
  client.connect({ host: '127.0.0.1', port: port(), username: token, password: 'x' });
  await once(client, 'ready');
  return client;
}

const sftpOf = (client: Client) =>
  new Promise<SFTPWrapper>((resolve, reject) => client.sftp((error, sftp) => (error ? reject(error) : resolve(sftp))));

test('descriptors and channels of the server are shared by all connections of a sandbox, and come back', async () => {
  const opened = (sftp: SFTPWrapper) =>
    new Promise<number>((resolve) => sftp.open('/etc/passwd', 'r', (error) => resolve(error ? 0 : 1)));
  const fill = async (client: Client) => {
    const all = await Promise.all(Array.from({ length: 5 }, () => sftpOf(client)));
    const counts = await Promise.all(all.flatMap((sftp) => Array.from({ length: 250 }, () => opened(sftp))));
    return counts.reduce((sum, one) => sum + one, 0);
  };
  const other = (await lab.client.post('/api/sandbox', { snapshot: lab.snapshot })).body.id;
  const [client, theirs] = [await loggedIn(), await loggedIn((await lab.newAccess('', other)).token)];
  expect(await fill(client)).toBe(1024);
  expect(await opened(await sftpOf(theirs))).toBe(1);
  const many = await Promise.all(Array.from({ length: 5 }, () => loggedIn()));
  const channels = await Promise.all(
    many.flatMap((one) =>
      Array.from({ length: 30 }, () =>
        sftpOf(one).then(
          () => 1,
          () => 0,
        ),
      ),
    ),
  );
  expect(channels.reduce<number>((sum, one) => sum + one, 0)).toBe(128 - 5);
  expect(await opened(await sftpOf(theirs))).toBe(1);
  for (const one of [client, theirs, ...many]) one.destroy();
  await expect
    .poll(async () => {
      const again = await loggedIn();
      const count = await sftpOf(again).then(opened, () => 0);
      again.destroy();
      return count;
    })
    .toBe(1);
  await lab.client.delete(`/api/sandbox/${other}`);
});
