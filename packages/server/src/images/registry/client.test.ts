import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { always, fetchImage } from '../testing/fetching.ts';
import { type RegistryServer, startRegistryServer } from '../testing/registry-server.ts';
import { makeImage } from '../testing/test-image.ts';
import { htpasswdAuth, makeCertificate, startTokenServer, type TokenServer } from '../testing/token-server.ts';

const USER = { username: 'user', password: 's3cret-pass' };

const image = makeImage(
  [
    { files: { 'etc/': '', 'etc/motd': 'hello' }, compression: 'gzip' },
    { files: { 'data.bin': Buffer.alloc(300_000, 'x') }, compression: 'zstd' },
    { files: { 'plain.txt': 'plain' }, compression: 'none' },
  ],
  {
    config: {
      Env: ['PATH=/bin', 'A=b=c'],
      Entrypoint: ['/init'],
      Cmd: null,
      WorkingDir: '/work',
      User: '1000:1000',
      Labels: { a: 'b' },
      ExposedPorts: { '80/tcp': {} },
      Volumes: { '/data': {} },
      StopSignal: 'SIGINT',
    },
  },
);
const contents = image.layers.map(({ digest }) => image.blobs.get(digest));

describe('an open registry', () => {
  let registry: RegistryServer;
  beforeAll(async () => {
    registry = await startRegistryServer();
    await registry.push('team/app:1', image);
    await registry.push('empty:1', makeImage([]));
  }, 60_000);
  afterAll(() => registry.close());

  it('gives an image by its tag: digest, config and the bytes of each layer', async () => {
    const found = await fetchImage(`${registry.host}/team/app:1`);
    expect(found.digest).toBe(image.digest);
    expect(found.layers.map(({ diffId }) => diffId)).toEqual(image.layers.map(({ diffId }) => diffId));
    expect(found.contents).toEqual(contents);
    expect(found.config).toEqual({
      env: ['PATH=/bin', 'A=b=c'],
      entrypoint: ['/init'],
      cmd: [],
      workingDir: '/work',
      user: '1000:1000',
      labels: { a: 'b' },
      exposedPorts: ['80/tcp'],
      volumes: ['/data'],
      stopSignal: 'SIGINT',
    });
  });

  it('gives the same by the digest', async () => {
    expect((await fetchImage(`${registry.host}/team/app@${image.digest}`)).contents).toEqual(contents);
  });

  it('gives an image without layers', async () => {
    expect(await fetchImage(`${registry.host}/empty:1`)).toMatchObject({ layers: [], contents: [] });
  });

  it('says that a tag does not exist, with the request and what the registry said', async () => {
    await expect(fetchImage(`${registry.host}/team/app:2`)).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: false,
      message: expect.stringMatching(/\/v2\/team\/app\/manifests\/2: 404 MANIFEST_UNKNOWN: manifest unknown/),
      hint: expect.stringMatching(/name and the tag/),
      details: { status: 404, registryCode: 'MANIFEST_UNKNOWN', reason: 'not_found' },
    });
  });
});

describe('a registry with basic authentication', () => {
  let registry: RegistryServer;
  beforeAll(async () => {
    registry = await startRegistryServer({ auth: htpasswdAuth });
    await registry.push('team/app:1', image, USER);
  }, 60_000);
  afterAll(() => registry.close());

  it('gives an image to who has the credentials', async () => {
    const asked: string[] = [];
    const credentials = async (host: string) => {
      asked.push(host);
      return USER;
    };
    expect((await fetchImage(`${registry.host}/team/app:1`, { credentials })).contents).toEqual(contents);
    expect(asked).toEqual([registry.host]);
  });

  it('asks for credentials when there are none', async () => {
    await expect(fetchImage(`${registry.host}/team/app:1`)).rejects.toMatchObject({
      code: 'image_unavailable',
      message: expect.stringMatching(/401 UNAUTHORIZED.*credentials are needed/),
      hint: expect.stringMatching(/POST \/api\/docker-registry/),
    });
  });

  it('says that wrong credentials are refused, without showing them', async () => {
    const credentials = always({ username: 'user', password: 'not-the-password' });
    const failure = await fetchImage(`${registry.host}/team/app:1`, { credentials }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'image_unavailable', details: { reason: 'denied', status: 401 } });
    expect(JSON.stringify([String(failure), failure])).not.toMatch(/not-the-password/);
  });
});

describe('a registry with a token server', () => {
  let registry: RegistryServer;
  let tokens: TokenServer;
  beforeAll(async () => {
    tokens = await startTokenServer(USER);
    registry = await startRegistryServer({ auth: (directory) => tokens.auth(directory) });
    await registry.push('team/app:1', image, USER);
  }, 60_000);
  afterAll(async () => {
    await registry.close();
    await tokens.close();
  });

  it('gives an image for one token, asked for the right to pull from this one repository', async () => {
    tokens.requests.length = 0;
    expect((await fetchImage(`${registry.host}/team/app:1`, { credentials: always(USER) })).contents).toEqual(contents);
    expect(tokens.requests).toEqual([
      { scope: 'repository:team/app:pull', service: 'test-registry', authorization: expect.stringMatching(/^Basic /) },
    ]);
  });

  it('asks for a new token when the old one ends during the pull', async () => {
    tokens.requests.length = 0;
    tokens.lifetimeSeconds = 1;
    const found = await fetchImage(`${registry.host}/team/app:1`, { credentials: always(USER) });
    tokens.lifetimeSeconds = 300;
    expect(found.contents).toEqual(contents);
    expect(tokens.requests.length).toBeGreaterThan(1);
  });

  it('says that an anonymous token is not enough', async () => {
    await expect(fetchImage(`${registry.host}/team/app:1`)).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'denied', status: 401 },
      hint: expect.stringMatching(/POST \/api\/docker-registry/),
    });
  });

  it('says what the token server says of wrong credentials', async () => {
    const credentials = always({ username: 'user', password: 'wrong-password' });
    await expect(fetchImage(`${registry.host}/team/app:1`, { credentials })).rejects.toMatchObject({
      message: expect.stringMatching(/\/token\?…: 401.*incorrect username or password/),
      details: { reason: 'denied' },
    });
  });
});

describe('a registry with https', () => {
  let registry: RegistryServer;
  beforeAll(async () => {
    registry = await startRegistryServer({
      http: async (directory, port) => {
        await makeCertificate(directory, 'tls');
        return { addr: `:${port}`, tls: { certificate: join(directory, 'tls.crt'), key: join(directory, 'tls.key') } };
      },
    });
    await registry.push('team/app:1', image);
  }, 60_000);
  afterAll(() => registry.close());

  it('on loopback needs no known certificate, as with Docker', async () => {
    expect((await fetchImage(`${registry.host}/team/app:1`)).contents).toEqual(contents);
  });

  // The machine's own name leads back to it, but is not taken for loopback.
  const elsewhere = () => `${hostname()}:${registry.host.split(':')[1]}/team/app:1`;

  it('elsewhere is refused without a known certificate, and the hint says what to configure', async () => {
    await expect(fetchImage(elsewhere())).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: false,
      message: expect.stringMatching(/self-signed certificate/),
      hint: expect.stringMatching(/registries.caFiles/),
    });
  });

  it('elsewhere is taken with the certificate in registries.caFiles, or the host in registries.insecure', async () => {
    const caFiles = [join(registry.directory, 'tls.crt')];
    expect((await fetchImage(elsewhere(), { config: { caFiles } })).contents).toEqual(contents);
    expect((await fetchImage(elsewhere(), { config: { insecure: [hostname()] } })).contents).toEqual(contents);
  });

  it('a file in registries.caFiles that is missing or holds no certificate is refused by its name', async () => {
    await expect(fetchImage(elsewhere(), { config: { caFiles: ['/nowhere.pem'] } })).rejects.toThrow(
      /registries.caFiles: .*\/nowhere.pem/,
    );
    const config = join(registry.directory, 'config.yml');
    await expect(fetchImage(elsewhere(), { config: { caFiles: [config] } })).rejects.toThrow(/no certificate/);
  });
});
