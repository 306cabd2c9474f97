import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { configSchema } from '../platform/config-schema.ts';
import { openLocalCa } from '../platform/tls/local-ca.ts';
import { startTls } from './start-tls.ts';

let directory: string;
let closers: (() => Promise<void> | void)[];
const log = { info() {}, error() {} };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-tls-'));
  closers = [];
});
afterEach(async () => {
  for (const close of closers) await close();
  await rm(directory, { recursive: true, force: true });
});

const start = (tls: object) =>
  startTls({
    config: configSchema.parse({ stateDir: directory, tls }),
    log,
    closers: { add: (_name, close) => void closers.push(close) },
    lookMs: 20,
  });

test('without it there is none, and with it a CA of its own', async () => {
  expect(await start({})).toBeUndefined();
  expect(await start({ enabled: true })).toMatchObject({ caFile: join(directory, 'tls', 'ca.crt') });
});

test('a certificate that was given is served, and so is the one that takes its place', async () => {
  const names = { dns: ['localhost'], ip: ['127.0.0.1'] };
  const given = { certFile: join(directory, 'given.crt'), keyFile: join(directory, 'given.key') };
  const take = async (dns: string) => {
    await (await openLocalCa(directory)).identityFor({ ...names, dns: ['localhost', dns] });
    await copyFile(join(directory, 'tls', 'server.crt'), given.certFile);
    await copyFile(join(directory, 'tls', 'server.key'), given.keyFile);
  };
  await take('one.example.test');
  const tls = await start(given);
  expect(tls?.caFile).toBeUndefined();
  const server = createServer({ ...tls?.identity }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => void server.close());
  tls?.follow((identity) => server.setSecureContext(identity));
  const ca = await readFile(join(directory, 'tls', 'ca.crt'));
  const namesServed = async () => {
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const socket = connect({ host: '127.0.0.1', port, ca });
    await once(socket, 'secureConnect');
    const { subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    return subjectaltname;
  };
  expect(await namesServed()).toContain('one.example.test');
  await take('two.example.test');
  await vi.waitFor(async () => expect(await namesServed()).toContain('two.example.test'), { timeout: 4_000 });
});

test('half a setting is refused', () => {
  expect(() => configSchema.parse({ tls: { certFile: '/a' } })).toThrow('certFile and keyFile belong together');
});
