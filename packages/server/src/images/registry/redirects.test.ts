import { hostname } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { always, fetchImage, QUICK_LIMITS, registryConfig } from '../testing/fetching.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from '../testing/scripted-registry.ts';
import { makeImage } from '../testing/test-image.ts';
import { follow } from './follow.ts';
import { createTransport } from './transport.ts';

const image = makeImage([{ files: { a: 'a' } }]);
const [layer] = image.layers;
const digest = layer?.digest ?? '-';
const USER = { username: 'user', password: 's3cret-pass' };

let registry: ScriptedRegistry;
let elsewhere: ScriptedRegistry;
beforeEach(async () => {
  [registry, elsewhere] = await Promise.all([startScriptedRegistry(), startScriptedRegistry()]);
  registry.serve('app', image);
  elsewhere.serve('storage', image);
});
afterEach(() => Promise.all([registry.close(), elsewhere.close()]));

const fetchApp = () => fetchImage(`${registry.host}/app`, { credentials: always(USER) });

/** Wants basic authentication and then sends blobs to `location`. */
function redirectBlobs(location: (path: string) => string): void {
  registry.script = (request, response) => {
    if (request.headers.authorization === undefined) {
      response.setHeader('www-authenticate', 'Basic realm="test"');
      sendError(response, 401, 'UNAUTHORIZED', 'authentication required');
      return true;
    }
    if (!request.url?.includes('/blobs/')) return;
    response.writeHead(307, { location: location(request.url) }).end();
    return true;
  };
}

describe('redirects', () => {
  it('to another host are followed without the credentials of the registry, and without those in the URL', async () => {
    redirectBlobs((path) => `http://user:pw@${elsewhere.host}${path.replace('/app/', '/storage/')}`);
    expect((await fetchApp()).contents).toEqual([image.blobs.get(digest)]);
    expect(elsewhere.requests.map(({ authorization }) => authorization)).toEqual([undefined, undefined]);
  });

  it('do not give the credentials to who asks for them on the other side', async () => {
    elsewhere.script = (_request, response) => {
      response.setHeader('www-authenticate', 'Basic realm="give me"');
      sendError(response, 401, 'UNAUTHORIZED', 'give me');
      return true;
    };
    redirectBlobs(() => `http://${elsewhere.host}/`);
    await expect(fetchApp()).rejects.toMatchObject({ code: 'image_unavailable', details: { reason: 'denied' } });
    expect(elsewhere.requests).toHaveLength(1);
    expect(elsewhere.requests[0]?.authorization).toBeUndefined();
  });

  it('do not get the credentials back on the way home', async () => {
    elsewhere.script = (_request, response) => {
      response.writeHead(307, { location: `http://${registry.host}/home` }).end();
      return true;
    };
    redirectBlobs(() => `http://${elsewhere.host}/`);
    await fetchApp().catch(() => {});
    const home = registry.requests.filter(({ path }) => path === '/home');
    expect(home.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  it.each([
    ['in a circle', () => '/v2/app/manifests/latest', /more than 10 redirects/],
    ['to nowhere', () => 'http://', /redirect to nowhere/],
    ['to another protocol', () => 'file:///etc/passwd', /only https/],
    ['to http elsewhere', () => `http://${hostname()}:1/x`, /only https/],
    ['to a metadata address', () => 'https://169.254.169.254/latest/meta-data', /not fetched from/],
  ])('%s are refused', async (_where, location, reason) => {
    registry.script = (_request, response) => {
      response.writeHead(302, { location: location() }).end();
      return true;
    };
    await expect(fetchApp()).rejects.toMatchObject({
      code: 'image_unavailable',
      message: expect.stringMatching(reason),
    });
  });

  it('show no signature of the URL in errors', async () => {
    elsewhere.script = (_request, response) => {
      sendError(response, 403, 'DENIED', 'expired');
      return true;
    };
    registry.script = (_request, response) => {
      response.writeHead(302, { location: `http://${elsewhere.host}/blob?X-Amz-Signature=topsecret` }).end();
      return true;
    };
    const failure = await fetchApp().catch((error: unknown) => error);
    expect(String(failure)).toMatch(/\/blob\?…: 403/);
    expect(JSON.stringify([String(failure), failure])).not.toMatch(/topsecret/);
  });
});

describe('a public registry', () => {
  it.each(['127.0.0.1', '[::1]', 'localhost', '10.0.0.1', '[::ffff:127.0.0.1]'])(
    'cannot send us to %s',
    async (host) => {
      const transport = createTransport(registryConfig(), QUICK_LIMITS);
      // As if the first connection had led to a public address, which a test has none of.
      const fromPublic = { ...transport, isInternal: () => false };
      registry.script = (_request, response) => {
        response.writeHead(302, { location: `https://${host}:1/` }).end();
        return true;
      };
      const options = { headers: {}, authorization: undefined, signal: AbortSignal.timeout(5000) };
      await expect(follow(fromPublic, new URL(`http://${registry.host}/`), options)).rejects.toMatchObject({
        kind: 'policy',
      });
      await transport.close();
    },
  );

  it('is one whose connection led to a public address; loopback ones are internal', async () => {
    const transport = createTransport(registryConfig(), QUICK_LIMITS);
    const url = new URL(`http://${registry.host}/v2/`);
    expect(transport.isInternal(url)).toBe(false);
    const response = await transport.request(url, { headers: {}, signal: AbortSignal.timeout(5000) });
    await response.body.dump();
    expect(transport.isInternal(url)).toBe(true);
    await transport.close();
  });
});

describe('an image name', () => {
  it.each([
    '169.254.169.254',
    '169.254.169.254:80',
    '[fe80::1]',
    '100.100.100.200',
    '0.0.0.0:5000',
    '[::ffff:a9fe:a9fe]',
  ])('with the registry %s is refused before any connection', async (host) => {
    await expect(fetchImage(`${host}/latest:1`)).rejects.toMatchObject({
      code: 'image_unavailable',
      message: expect.stringMatching(/not fetched from/),
      hint: expect.stringMatching(/metadata/),
    });
  });
});

describe('a token server', () => {
  const challenge = (realm: string) => {
    registry.script = (_request, response) => {
      response.setHeader('www-authenticate', `Bearer realm="${realm}",service="s"`);
      sendError(response, 401, 'UNAUTHORIZED', 'authentication required');
      return true;
    };
  };

  it.each([
    ['http://auth.example.invalid/token', /without https/],
    ['https://169.254.169.254/token', /not fetched from/],
    ['ftp://auth.example.invalid/', /no URL/],
    ['nonsense', /no URL/],
  ])('at %s gets no credentials', async (realm, reason) => {
    challenge(realm);
    await expect(fetchApp()).rejects.toMatchObject({
      code: 'image_unavailable',
      message: expect.stringMatching(reason),
    });
  });

  it.each([
    ['no JSON', 'hello'],
    ['no token', '{}'],
    ['a token that would break the header', JSON.stringify({ token: 'a\r\nx-evil: 1' })],
  ])('that answers with %s is reported', async (_what, body) => {
    challenge(`http://${elsewhere.host}/token`);
    elsewhere.script = (_request, response) => {
      response.end(body);
      return true;
    };
    await expect(fetchApp()).rejects.toMatchObject({ message: expect.stringMatching(/has no token/) });
  });

  it('that sends us on gets the credentials to the realm alone', async () => {
    challenge(`http://${elsewhere.host}/token`);
    elsewhere.script = (_request, response) => {
      response.writeHead(307, { location: `http://${registry.host}/token` }).end();
      return true;
    };
    await fetchApp().catch(() => {});
    expect(elsewhere.requests.map(({ authorization }) => authorization)).toEqual([expect.stringMatching(/^Basic /)]);
    const reached = registry.requests.filter(({ path }) => path === '/token');
    expect(reached.map(({ authorization }) => authorization)).toEqual([undefined]);
  });
});
