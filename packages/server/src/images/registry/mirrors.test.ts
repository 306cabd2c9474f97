import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { always, fetchImage } from '../testing/fetching.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from '../testing/scripted-registry.ts';
import { makeImage } from '../testing/test-image.ts';
import { endpointsOf } from './endpoints.ts';

const image = makeImage([{ files: { noise: Buffer.alloc(300_000, 'x') }, compression: 'none' }]);
const digest = image.layers[0]?.digest ?? '-';
const contents = [image.blobs.get(digest)];

let registry: ScriptedRegistry;
let first: ScriptedRegistry;
let second: ScriptedRegistry;
beforeEach(async () => {
  [registry, first, second] = await Promise.all([
    startScriptedRegistry(),
    startScriptedRegistry(),
    startScriptedRegistry(),
  ]);
});
afterEach(() => Promise.all([registry.close(), first.close(), second.close()]));

const mirrors = () => ({ [registry.host]: [`http://${first.host}`, `http://${second.host}/cache`] });
const fetchApp = (credentials = always({ username: 'user', password: 's3cret-pass' })) =>
  fetchImage(`${registry.host}/app`, { credentials, config: { mirrors: mirrors() } });

function refuse(mirror: ScriptedRegistry, status: number): void {
  mirror.script = (_request, response) => {
    sendError(response, status, 'UNKNOWN', 'not here');
    return true;
  };
}

function cutConnections(mirror: ScriptedRegistry): void {
  mirror.script = (request) => {
    request.destroy();
    return true;
  };
}

describe('mirrors', () => {
  it('are asked before the registry, which then is not asked at all', async () => {
    first.serve('app', image);
    expect((await fetchApp()).contents).toEqual(contents);
    expect(registry.requests).toEqual([]);
    expect(second.requests).toEqual([]);
  });

  it('are asked in their order when one does not have the image, with their path before the repository', async () => {
    second.serve('cache/app', image);
    expect((await fetchApp()).contents).toEqual(contents);
    expect(first.count('/v2/app/manifests/latest')).toBe(1);
    expect(registry.requests).toEqual([]);
  });

  it.each<[string, (mirror: ScriptedRegistry) => void | Promise<void>]>([
    ['answer with 500', (mirror) => refuse(mirror, 500)],
    ['want credentials', (mirror) => refuse(mirror, 401)],
    ['cut the connection', cutConnections],
    ['are down', (mirror) => mirror.close()],
    ['send something else', (mirror) => mirror.serveManifest('app', 'latest', Buffer.from('{}'), 'text/plain')],
  ])('that %s are passed over', async (_what, spoil) => {
    await spoil(first);
    registry.serve('app', image);
    expect((await fetchApp()).contents).toEqual(contents);
    first = await startScriptedRegistry();
  });

  it('are all named when nobody has the image', async () => {
    await expect(fetchApp()).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'not_found' },
      message: expect.stringMatching(new RegExp([first.host, second.host, registry.host].join('.*404.*'))),
    });
  });

  it('do not get the credentials of the registry', async () => {
    const asked: string[] = [];
    first.script = (_request, response) => {
      response.setHeader('www-authenticate', 'Basic realm="mirror"');
      sendError(response, 401, 'UNAUTHORIZED', 'x');
      return true;
    };
    registry.serve('app', image);
    await fetchApp(async (host) => {
      asked.push(host);
      return host === registry.host ? { username: 'user', password: 's3cret-pass' } : undefined;
    });
    expect(asked).toEqual([first.host, second.host, registry.host]);
    expect(first.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  it('that break in the middle of a layer are replaced by the next place, from there on', async () => {
    first.serve('app', image);
    registry.serve('app', image);
    first.script = (request, response, count) => {
      if (!request.url?.endsWith(digest)) return;
      if (count > 1) sendError(response, 503, 'UNAVAILABLE', 'gone');
      else {
        response.writeHead(200, { 'content-length': contents[0]?.length });
        response.write(contents[0]?.subarray(0, 100_000), () => response.destroy());
      }
      return true;
    };
    expect((await fetchApp()).contents).toEqual(contents);
    expect(registry.requests.map(({ range }) => range)).toEqual([expect.stringMatching(/^bytes=\d+-$/)]);
  });
});

describe('endpoints', () => {
  it("of Docker Hub's images are at registry-1.docker.io, their credentials under docker.io", () => {
    expect(endpointsOf('docker.io', 'library/python', {})).toEqual([
      {
        host: 'docker.io',
        address: 'registry-1.docker.io',
        repository: 'library/python',
        isMirror: false,
        scheme: undefined,
        credentials: undefined,
      },
    ]);
  });

  it('of mirrors take a path, a login and the API root from their URL', () => {
    const urls = ['https://u:p%40ss@m.example/hub', 'https://m.example/v2/proxy/', 'http://m.example:5000'];
    const [withLogin, withRoot, plain] = endpointsOf('docker.io', 'library/python', { 'docker.io': urls });
    expect(withLogin).toMatchObject({
      repository: 'hub/library/python',
      credentials: { username: 'u', password: 'p@ss' },
    });
    expect(withRoot).toMatchObject({ host: 'm.example', repository: 'proxy/library/python', scheme: 'https:' });
    expect(plain).toMatchObject({ host: 'm.example:5000', repository: 'library/python', scheme: 'http:' });
  });

  it('that know of no such image are the likelier cause when the registry is out of reach', async () => {
    await registry.close();
    await expect(fetchApp()).rejects.toMatchObject({
      code: 'image_unavailable',
      hint: expect.stringMatching(/^No mirror has it: check the name and the tag/),
    });
  });
});
