import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchImage } from '../testing/fetching.ts';
import { type ScriptedRegistry, startScriptedRegistry } from '../testing/scripted-registry.ts';
import { makeImage, manifestOf, sha256 } from '../testing/test-image.ts';

const image = makeImage([{ files: { noise: 'noise' }, compression: 'none' }]);
const blob = image.blobs.get(image.layers[0]?.digest ?? '');

let registry: ScriptedRegistry;
let app: string;
beforeEach(async () => {
  registry = await startScriptedRegistry();
  registry.serve('app', image);
  app = `${registry.host}/app`;
});
afterEach(() => registry.close());

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
