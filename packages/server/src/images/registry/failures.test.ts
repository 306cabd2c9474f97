import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { always, fetchImage } from '../testing/fetching.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from '../testing/scripted-registry.ts';
import { makeImage, manifestOf, sha256 } from '../testing/test-image.ts';

/** Does not compress, so that it comes in several pieces. */
const noise = Buffer.from(Array.from({ length: 400_000 }, (_, index) => (index * 7919) % 251));
const image = makeImage([{ files: { noise }, compression: 'none' }]);
const [layer] = image.layers;
const blob = image.blobs.get(layer?.digest ?? '') ?? Buffer.alloc(0);
const isBlob = (url: string | undefined) => url?.endsWith(layer?.digest ?? '-') === true;

let registry: ScriptedRegistry;
let app: string;
beforeEach(async () => {
  registry = await startScriptedRegistry();
  registry.serve('app', image);
  app = `${registry.host}/app`;
});
afterEach(() => registry.close());

describe('a registry that fails', () => {
  it('is asked again after a 500, and the pull goes on', async () => {
    registry.script = (_request, response, count) => {
      if (count > 2) return;
      sendError(response, 500, 'UNKNOWN', 'try again');
      return true;
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
  });

  it('is given up on after four answers of 503, with what it said', async () => {
    registry.script = (_request, response) => {
      sendError(response, 503, 'UNAVAILABLE', 'down for\nmaintenance');
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: true,
      message: expect.stringMatching(/503 UNAVAILABLE: down for maintenance/),
      details: { reason: 'server', status: 503 },
    });
    expect(registry.count('/manifests/latest')).toBe(4);
  });

  it('is waited for when it answers 429 with Retry-After', async () => {
    const asked: number[] = [];
    registry.script = (request, response, count) => {
      if (request.url?.endsWith('/manifests/latest')) asked.push(performance.now());
      if (count > 1) return;
      response.setHeader('retry-after', '1');
      sendError(response, 429, 'TOOMANYREQUESTS', 'slow down');
      return true;
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
    const [first = 0, second = 0] = asked;
    expect(second - first).toBeGreaterThanOrEqual(990);
  });

  it('is not waited for when it wants an hour', async () => {
    registry.script = (_request, response) => {
      response.setHeader('retry-after', '3600');
      sendError(response, 429, 'TOOMANYREQUESTS', 'slow down');
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: true,
      details: { reason: 'rate_limited', status: 429, retryAfterMs: 3_600_000 },
    });
    expect(registry.count('/manifests/latest')).toBe(1);
  });

  it('that refuses connections is reported at once', async () => {
    await registry.close();
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: true,
      message: expect.stringMatching(/ECONNREFUSED/),
      details: { reason: 'unreachable' },
    });
    registry = await startScriptedRegistry();
  });

  it('that accepts and says nothing runs into a time-out', async () => {
    registry.script = () => true;
    await expect(fetchImage(app, { limits: { headersMs: 300 } })).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'timeout' },
    });
  });

  it('that is no HTTP server at all is reported as such', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await expect(fetchImage(`127.0.0.1:${port}/app`)).rejects.toMatchObject({ code: 'image_unavailable' });
    server.close();
  });

  it('is left at once when the pull is cancelled', async () => {
    const cancel = new AbortController();
    registry.script = (request) => {
      if (!isBlob(request.url)) return;
      cancel.abort(new Error('cancelled by test'));
      return true;
    };
    await expect(fetchImage(app, { signal: cancel.signal })).rejects.toThrow('cancelled by test');
  });
});

describe('a download that breaks', () => {
  /** Sends up to `end` and cuts the connection. */
  const cut = (response: import('node:http').ServerResponse, start: number, end: number, headers = {}) => {
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': blob.length - start, ...headers });
    response.write(blob.subarray(start, end), () => response.destroy());
    return true;
  };
  const rangeOf = (range: string | undefined) => Number(/bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);

  it('goes on from where it broke, several times', async () => {
    registry.script = (request, response, count) => {
      if (!isBlob(request.url) || count > 3) return;
      const start = rangeOf(request.headers.range);
      return cut(response, start, start + 100_000, {
        'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}`,
      });
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
    const ranges = registry.requests.filter(({ path }) => isBlob(path)).map(({ range }) => rangeOf(range));
    expect(ranges).toHaveLength(4);
    expect(ranges[3]).toBeGreaterThan(ranges[1] ?? Number.POSITIVE_INFINITY);
  });

  it('gives each byte once when the server ignores ranges and starts anew', async () => {
    registry.script = (request, response, count) => {
      if (!isBlob(request.url)) return;
      if (count === 1) return cut(response, 0, 150_000);
      response.end(blob);
      return true;
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
  });

  it('is not put together from the wrong range', async () => {
    registry.script = (request, response, count) => {
      if (!isBlob(request.url)) return;
      if (count === 1) return cut(response, 0, 150_000);
      const start = rangeOf(request.headers.range) - 10;
      response.writeHead(206, { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` });
      response.end(blob.subarray(start));
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({ message: expect.stringMatching(/another range/) });
  });

  it('is given up on when it never gets on', async () => {
    registry.script = (request, response) => (isBlob(request.url) ? cut(response, 0, 0) : undefined);
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'interrupted' },
    });
    expect(registry.count(layer?.digest ?? '-')).toBe(4);
  });

  it('is given up on when it breaks for ever after a byte', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      const start = rangeOf(request.headers.range);
      return cut(response, start, start + 1, { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` });
    };
    await expect(fetchImage(app, { limits: { resumes: 5 } })).rejects.toMatchObject({ code: 'image_unavailable' });
    expect(registry.count(layer?.digest ?? '-')).toBeLessThan(15);
  });

  it('that stalls runs into the idle time-out', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 1000));
      return true;
    };
    await expect(fetchImage(app, { limits: { idleMs: 200, attempts: 1, resumes: 0 } })).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'timeout' },
    });
  });

  it('that drips a byte now and then counts as stalled', async () => {
    const drips: NodeJS.Timeout[] = [];
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'content-length': blob.length });
      drips.push(setInterval(() => response.write('x'), 20));
      return true;
    };
    const limits = { slowMs: 300, slowBytes: 1000, attempts: 1, resumes: 0 };
    await expect(fetchImage(app, { limits })).rejects.toMatchObject({
      message: expect.stringMatching(/only \d+ bytes came/),
      details: { reason: 'timeout' },
    });
    for (const drip of drips) clearInterval(drip);
  });

  it('that ends early without a length is not taken for whole', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'transfer-encoding': 'chunked' });
      response.end(blob.subarray(0, 1000));
      return true;
    };
    await expect(fetchImage(app, { limits: { resumes: 2 } })).rejects.toMatchObject({
      message: expect.stringMatching(/bytes early/),
      details: { reason: 'interrupted' },
    });
  });

  it('that brings more than the manifest says, or says so, is refused', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.end(Buffer.concat([blob, Buffer.of(0)]));
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({ code: 'image_invalid' });
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'transfer-encoding': 'chunked' });
      response.end(Buffer.concat([blob, blob]));
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({ code: 'image_invalid' });
  });
});

describe('manifests and configs', () => {
  const OCI = 'application/vnd.oci.image.manifest.v1+json';
  const serve = (json: object, type = OCI) =>
    registry.serveManifest('app', 'latest', Buffer.from(JSON.stringify(json)), type);
  const valid = JSON.parse(image.manifest.toString('utf8'));
  const other = sha256(Buffer.from('other'));
  const withLayer = (change: object) => ({ ...valid, layers: [{ ...valid.layers[0], ...change }] });

  it('with another content than the digest that was asked for are refused with both digests', async () => {
    registry.serveManifest('app', other, image.manifest, OCI);
    await expect(fetchImage(`${app}@${other}`)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringContaining(`the manifest should be ${other} and is ${image.digest}`),
    });
  });

  it('with another content than Docker-Content-Digest says are refused', async () => {
    registry.script = (request, response) => {
      if (request.url?.endsWith('/manifests/latest')) response.setHeader('docker-content-digest', other);
      return undefined;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({ code: 'image_invalid' });
  });

  it('whose config has another digest are refused', async () => {
    registry.script = (request, response) => {
      if (!request.url?.endsWith(image.config.digest)) return;
      response.end('{"rootfs":{}}');
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringContaining(image.config.digest),
    });
  });

  it('larger than 4 MiB are not read', async () => {
    registry.script = (request, response) => {
      if (!request.url?.endsWith('/manifests/latest')) return;
      response.writeHead(200, { 'transfer-encoding': 'chunked' });
      response.end(Buffer.alloc(6 * 1024 * 1024, ' '));
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/larger than/),
    });
    registry.script = undefined;
    serve({ ...valid, config: { ...valid.config, size: 5 * 1024 * 1024 } });
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/config has/),
    });
  });

  it.each([
    [
      'schema 1',
      { schemaVersion: 1, fsLayers: [] },
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      /schema 1/,
    ],
    ['no JSON', 'nonsense', OCI, /no JSON object/],
    ['an index and a manifest at once', { ...valid, manifests: [] }, OCI, /at once/],
    [
      'a type that disagrees with the registry',
      { ...valid, mediaType: 'application/vnd.oci.image.index.v1+json' },
      OCI,
      /says/,
    ],
    [
      'an artifact',
      { ...valid, config: { ...valid.config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
      OCI,
      /not a container image.*helm/,
    ],
    ['an unknown kind', { mediaType: 'application/vnd.example+json' }, OCI, /application\/vnd.example/],
    [
      'a foreign layer',
      withLayer({ mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }),
      OCI,
      /foreign layer/,
    ],
    [
      'a non-distributable layer',
      withLayer({ mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' }),
      OCI,
      /foreign layer/,
    ],
    ['a layer with urls', withLayer({ urls: ['http://169.254.169.254/'] }), OCI, /foreign layer/],
    [
      'an encrypted layer',
      withLayer({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }),
      OCI,
      /unknown media type/,
    ],
    ['a digest that is a path', withLayer({ digest: '../../../etc/passwd' }), OCI, /broken at layers.0.digest/],
    ['a negative size', withLayer({ size: -1 }), OCI, /broken at layers.0.size/],
    ['too many layers', { ...valid, layers: Array(300).fill(valid.layers[0]) }, OCI, /300 layers/],
    [
      'more layers than its config',
      { ...valid, layers: [valid.layers[0], valid.layers[0]] },
      OCI,
      /names 2 layers, its config 1/,
    ],
  ])('that are %s are refused', async (_what, json, type, reason) => {
    if (typeof json === 'string') registry.serveManifest('app', 'latest', Buffer.from(json), type);
    else serve(json, type);
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(reason),
    });
  });

  it('of another platform are refused, with the platforms that there are', async () => {
    const entry = (os: string, architecture: string, variant?: string) => ({
      mediaType: OCI,
      digest: image.digest,
      size: image.manifest.length,
      platform: { os, architecture, variant },
    });
    const index = 'application/vnd.oci.image.index.v1+json';
    const manifests = [
      entry('linux', 's390x'),
      entry('linux', 'arm', 'v7'),
      entry('windows', 'amd64'),
      entry('unknown', 'unknown'),
    ];
    serve({ schemaVersion: 2, mediaType: index, manifests }, index);
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(/only for linux\/s390x, linux\/arm\/v7, windows\/amd64$/),
    });
    const strange = makeImage([], { architecture: 's390x' });
    registry.serve('strange', strange);
    await expect(fetchImage(`${registry.host}/strange`)).rejects.toMatchObject({
      message: expect.stringMatching(/it is for linux\/s390x, and this machine is linux\//),
    });
  });

  it('of Docker, in a manifest list, are taken, by the digest of the list', async () => {
    const docker = JSON.parse(manifestOf(image).toString('utf8'));
    docker.mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
    docker.config.mediaType = 'application/vnd.docker.container.image.v1+json';
    docker.layers[0].mediaType = 'application/vnd.docker.image.rootfs.diff.tar';
    const manifest = Buffer.from(JSON.stringify(docker));
    registry.serveManifest('app', sha256(manifest), manifest, docker.mediaType);
    const type = 'application/vnd.docker.distribution.manifest.list.v2+json';
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
    const platform = { os: 'linux', architecture };
    const entry = { mediaType: docker.mediaType, digest: sha256(manifest), size: manifest.length, platform };
    const list = {
      schemaVersion: 2,
      mediaType: type,
      manifests: [{ ...entry, digest: other, platform: { os: 'linux', architecture: 's390x' } }, entry],
    };
    serve(list, `${type}; charset=utf-8`);
    const found = await fetchImage(app);
    expect(found.contents).toEqual([blob]);
    expect(found.digest).toBe(sha256(Buffer.from(JSON.stringify(list))));
  });
});

describe('secrets', () => {
  it('of a careless registry that repeats them do not come out in errors', async () => {
    registry.script = (request, response) => {
      if (request.headers.authorization === undefined) {
        response.setHeader('www-authenticate', 'Basic realm="x"');
        sendError(response, 401, 'UNAUTHORIZED', 'who are you');
      } else {
        const sent = request.headers.authorization;
        sendError(response, 403, 'DENIED', `${sent} ${Buffer.from(sent.slice(6), 'base64').toString()} may not`);
      }
      return true;
    };
    const credentials = always({ username: 'someone', password: 'pa55-w0rd' });
    const failure = await fetchImage(app, { credentials }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'image_unavailable', details: { status: 403 } });
    const shown = JSON.stringify([String(failure), failure, failure instanceof Error && String(failure.cause)]);
    expect(shown).toMatch(/\*\*\*/);
    expect(shown).not.toMatch(/pa55-w0rd/);
    expect(shown).not.toContain(Buffer.from('someone:pa55-w0rd').toString('base64'));
  });
});
