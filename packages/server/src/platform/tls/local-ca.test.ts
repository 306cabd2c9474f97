import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../process.ts';
import { certificateNames } from './certificate-names.ts';
import { readGivenCertificate } from './given-certificate.ts';
import { openLocalCa, type ServerIdentity } from './local-ca.ts';

const DAY = 24 * 3600_000;
const names = { dns: ['*.preview.localhost', 'darkroom.example.test', 'localhost'], ip: ['127.0.0.1', '::1'] };
let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-tls-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

const serialOf = ({ cert }: ServerIdentity) => new X509Certificate(cert).serialNumber;

test('who trusts the CA trusts the server by each of its names', async () => {
  const { caFile, identityFor } = await openLocalCa(stateDir);
  const server = createServer(await identityFor(names), (_request, response) => response.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const ca = await readFile(caFile);
    const ask = async (servername?: string) => {
      const request = get({
        host: '127.0.0.1',
        port,
        ca,
        agent: false,
        ...(servername === undefined ? {} : { servername }),
      });
      const [answer] = await once(request, 'response');
      return Buffer.concat(await answer.toArray()).toString();
    };
    expect(await ask()).toBe('hello');
    expect(await ask('darkroom.example.test')).toBe('hello');
    expect(await ask('3000-name.preview.localhost')).toBe('hello');
    await expect(ask('other.example.test')).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('openssl finds nothing wrong with it, however strict it looks', async () => {
  const { caFile, identityFor } = await openLocalCa(stateDir);
  await identityFor(names);
  const args = [
    'verify',
    '-x509_strict',
    '-purpose',
    'sslserver',
    '-CAfile',
    caFile,
    join(stateDir, 'tls', 'server.crt'),
  ];
  expect((await run('openssl', args, { timeoutMs: 10_000 })).stdout).toContain('OK');
});

test('both stay the same over restarts; only names and time make a new certificate, under the same CA', async () => {
  const first = await openLocalCa(stateDir);
  const before = await first.identityFor(names);
  const ca = await readFile(first.caFile, 'utf8');
  const again = await openLocalCa(stateDir);
  expect(await again.identityFor(names)).toEqual(before);
  expect(serialOf(await again.identityFor(names, Date.now() + 360 * DAY))).toBe(serialOf(before));
  const renewed = await again.identityFor(names, Date.now() + 380 * DAY);
  expect(serialOf(renewed)).not.toBe(serialOf(before));
  const wider = await again.identityFor({ ...names, dns: [...names.dns, 'more.example.test'] });
  expect(serialOf(wider)).not.toBe(serialOf(renewed));
  expect(await readFile(first.caFile, 'utf8')).toBe(ca);
});

test('nobody else reads the keys; a certificate that was spoilt is made again', async () => {
  const ca = await openLocalCa(stateDir);
  await ca.identityFor(names);
  for (const name of ['ca.key', 'server.key']) {
    expect((await stat(join(stateDir, 'tls', name))).mode & 0o777).toBe(0o600);
  }
  await writeFile(join(stateDir, 'tls', 'server.crt'), 'half');
  const { cert } = await ca.identityFor(names);
  expect(new X509Certificate(cert).checkIP('127.0.0.1')).toBe('127.0.0.1');
  await writeFile(join(stateDir, 'tls', 'ca.key'), 'half');
  await expect(openLocalCa(stateDir)).rejects.toThrow('is not a private key');
});

test('a given certificate must be there and have its key', async () => {
  const own = join(stateDir, 'tls');
  await (await openLocalCa(stateDir)).identityFor(names);
  const identity = await readGivenCertificate(join(own, 'server.crt'), join(own, 'server.key'));
  expect(identity.cert).toContain('BEGIN CERTIFICATE');
  await expect(readGivenCertificate(join(own, 'server.crt'), join(own, 'ca.key'))).rejects.toThrow('is not the key');
  await expect(readGivenCertificate(join(own, 'none'), join(own, 'ca.key'))).rejects.toMatchObject({
    code: 'invalid_request',
  });
});

test('the names are those by which clients come', () => {
  const preview = { urls: 'auto', maxConnections: 1, maxConnectionsPerSandbox: 1, idleSeconds: 1 } as const;
  const all = certificateNames({
    listen: '[fd00::1]:3986',
    publicUrl: 'https://darkroom.example.test:8443/base',
    preview: { ...preview, domain: 'ports.example.test:8443' },
  });
  expect(all).toEqual({
    dns: ['*.ports.example.test', '*.preview.localhost', 'darkroom.example.test', 'localhost', 'ports.example.test'],
    ip: ['127.0.0.1', '::1', 'fd00::1'],
  });
  expect(certificateNames({ listen: '0.0.0.0:1', publicUrl: 'https://10.1.2.3', preview }).ip).toContain('10.1.2.3');
});
