import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MNT_DETACH, mount, unmount } from '../platform/libc.ts';
import { run } from '../platform/process.ts';
import { createLayerStore } from './layer-store.ts';
import { createImagePuller, type OpenImagePuller } from './pull.ts';
import { parseReference } from './reference.ts';
import { ANONYMOUS, QUICK_LIMITS, registryConfig } from './testing/fetching.ts';
import { type RegistryServer, startRegistryServer } from './testing/registry-server.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from './testing/scripted-registry.ts';
import { makeImage, type TestImage } from './testing/test-image.ts';
import type { LayerStore, PullOptions, PullProgress } from './types.ts';
import { createUnpacker, type LayerUnpacker } from './unpack/unpacker.ts';

const ID_BASE = 1_000_000_000;

let directory: string;
let layers: LayerStore;
let unpacker: LayerUnpacker;
let puller: OpenImagePuller;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-pull-'));
  layers = await createLayerStore(join(directory, 'store'));
  unpacker = createUnpacker({ idBase: ID_BASE, idCount: 65536 });
  puller = createImagePuller({ layers, unpacker, registries: registryConfig(), limits: QUICK_LIMITS });
});
afterEach(async () => {
  await puller.close();
  await unpacker.close();
  await rm(directory, { recursive: true, force: true });
});

const options = (more: Partial<PullOptions> = {}): PullOptions => ({
  credentials: ANONYMOUS,
  signal: AbortSignal.timeout(30_000),
  maxBytes: 1e9,
  ...more,
});
const pull = (reference: string, more: Partial<PullOptions> = {}) =>
  puller.pull(parseReference(reference), options(more));
const stored = async () => (await layers.list()).map(({ diffId }) => diffId).sort();
const diffIds = (image: TestImage) => image.layers.map(({ diffId }) => diffId);

async function readInLayer(diffId: string, path: string): Promise<string> {
  const layer = await layers.get(diffId);
  return readFile(join(layer?.path ?? '/nowhere', path), 'utf8');
}

describe('a pull from a real registry', () => {
  let registry: RegistryServer;
  const base = {
    files: { 'etc/': '', 'etc/passwd': 'root:x:0:0::/:/bin/sh\n', 'etc/gone': 'x', 'opt/': '', 'opt/old': 'old' },
  };
  const image = makeImage(
    [
      base,
      {
        files: {
          'etc/': '',
          'etc/.wh.gone': '',
          'etc/motd': 'hello',
          'srv/': '',
          'srv/data': Buffer.alloc(500_000, 'd'),
        },
        compression: 'zstd',
      },
      {
        files: { 'opt/': '', 'opt/.wh..wh..opq': '', 'opt/new': 'new', 'etc/': '', 'etc/passwd': 'changed\n' },
        compression: 'none',
      },
    ],
    { config: { Cmd: ['sh'] } },
  );
  const twice = makeImage([
    base,
    { files: {} },
    { files: { 'etc/': '', 'etc/passwd': 'between\n' } },
    { files: {} },
    base,
  ]);

  beforeAll(async () => {
    registry = await startRegistryServer();
    await registry.push('app:1', image);
    await registry.push('twice:1', twice);
    await registry.push('scratch:1', makeImage([]));
  }, 60_000);
  afterAll(() => registry.close());

  it('fills the store with gzip, zstd and plain layers, and names the image by its digest', async () => {
    const progress: PullProgress[] = [];
    const pulled = await pull(`${registry.host}/app:1`, { onProgress: (state) => progress.push(state) });
    expect(pulled).toMatchObject({
      resolved: `${registry.host}/app@${image.digest}`,
      layers: diffIds(image),
      config: { cmd: ['sh'] },
    });
    expect(await stored()).toEqual(diffIds(image).sort());
    expect(pulled.sizeBytes).toBe((await layers.list()).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    const totalBytes = image.layers.reduce((sum, { size }) => sum + size, 0);
    expect(progress[0]?.phase).toBe('resolving');
    expect(progress.at(-1)).toEqual({
      phase: 'done',
      downloadedBytes: totalBytes,
      totalBytes,
      layersReady: 3,
      layersTotal: 3,
    });
  });

  it('gives the tree that skopeo and umoci give', async () => {
    const pulled = await pull(`${registry.host}/app:1`);
    const paths = await Promise.all(pulled.layers.map((diffId) => layers.get(diffId)));
    const merged = join(directory, 'merged');
    const bundle = join(directory, 'bundle');
    const layout = `oci:${join(directory, 'oci')}:latest`;
    await run('mkdir', [merged], { timeoutMs: 5_000 });
    const lowerdir = paths
      .map((layer) => layer?.path)
      .reverse()
      .join(':');
    mount('overlay', merged, 'overlay', 1, `lowerdir=${lowerdir}`);
    try {
      const from = `docker://${registry.host}/app:1`;
      await run('skopeo', ['copy', '--insecure-policy', '--src-tls-verify=false', from, layout], { timeoutMs: 60_000 });
      // Debian's umoci knows no zstd; skopeo copies the layers as gzip for it.
      await writeUmociLayout(join(directory, 'gzip'), layout);
      await run('umoci', ['unpack', '--image', `${join(directory, 'gzip')}:latest`, bundle], { timeoutMs: 60_000 });
      const shown = await listTree(merged, ID_BASE);
      expect(shown).toContain('etc/motd');
      expect(shown).toEqual(await listTree(join(bundle, 'rootfs'), 0));
      await run('diff', ['-r', merged, join(bundle, 'rootfs')], { timeoutMs: 30_000 });
    } finally {
      unmount(merged);
    }
  });

  it('of an image without layers has none', async () => {
    expect(await pull(`${registry.host}/scratch:1`)).toMatchObject({ layers: [], sizeBytes: 0 });
  });

  it('of an image that has a layer twice has it once, where it is on top, and can be mounted', async () => {
    const [first, empty, between] = diffIds(twice);
    const pulled = await pull(`${registry.host}/twice:1`);
    expect(pulled.layers).toEqual([between, empty, first]);
    const paths = await Promise.all(pulled.layers.map((diffId) => layers.get(diffId)));
    const merged = join(directory, 'merged');
    await run('mkdir', [merged], { timeoutMs: 5_000 });
    mount(
      'overlay',
      merged,
      'overlay',
      1,
      `lowerdir=${paths
        .map((layer) => layer?.path)
        .reverse()
        .join(':')}`,
    );
    const passwd = await readFile(join(merged, 'etc/passwd'), 'utf8').finally(() => unmount(merged));
    expect(passwd).toBe('root:x:0:0::/:/bin/sh\n');
  });

  it('fetches nothing when all layers are there', async () => {
    await pull(`${registry.host}/app:1`);
    const progress: PullProgress[] = [];
    const again = await pull(`${registry.host}/app:1`, { onProgress: (state) => progress.push(state) });
    expect(again.layers).toEqual(diffIds(image));
    expect(progress.at(-1)).toEqual({
      phase: 'done',
      downloadedBytes: 0,
      totalBytes: 0,
      layersReady: 3,
      layersTotal: 3,
    });
  });

  it('of more than it may take is refused, also when the layers are there', async () => {
    const refusal = { code: 'image_invalid' };
    await expect(pull(`${registry.host}/app:1`, { maxBytes: 1000 })).rejects.toMatchObject(refusal);
    await pull(`${registry.host}/app:1`);
    await expect(pull(`${registry.host}/app:1`, { maxBytes: 1000 })).rejects.toMatchObject(refusal);
  });
});

describe('layers that are not what they should be', () => {
  let registry: ScriptedRegistry;
  const image = makeImage([{ files: { a: 'a' } }, { files: { b: Buffer.alloc(300_000, 'b') }, compression: 'none' }]);
  const [, big] = image.layers;
  beforeEach(async () => {
    registry = await startScriptedRegistry();
    registry.serve('app', image);
  });
  afterEach(() => registry.close());

  it('by their digest fail the pull with both digests, and leave nothing of the layer', async () => {
    const wrong = Buffer.from(image.blobs.get(big?.digest ?? '') ?? []);
    wrong[600] = 0x7f;
    registry.script = (request, response) => {
      if (!request.url?.endsWith(big?.digest ?? '-')) return;
      response.end(wrong);
      return true;
    };
    await expect(pull(`${registry.host}/app`)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(new RegExp(`${big?.digest}.*sha256:|sha256:.*${big?.digest}`)),
    });
    expect(await stored()).not.toContain(big?.diffId);
    const { stdout } = await run('find', [layers.root, '-name', 'b'], { timeoutMs: 5_000 });
    expect(stdout).toBe('');
  });

  it('by their diffID fail the pull', async () => {
    const lying = makeImage([{ files: { a: 'a' } }]);
    const other = makeImage([{ files: { a: 'b' } }]);
    // The config of one and the layer of the other.
    const manifest = JSON.parse(lying.manifest.toString());
    manifest.layers = JSON.parse(other.manifest.toString()).layers;
    registry.serve('lying', other);
    registry.serve('lying', lying);
    registry.serveManifest('lying', 'latest', Buffer.from(JSON.stringify(manifest)), manifest.mediaType);
    await expect(pull(`${registry.host}/lying`)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringContaining(diffIds(lying)[0] ?? '-'),
    });
    expect(await stored()).toEqual([]);
  });

  it('are fetched to the end through a connection that breaks', async () => {
    const blob = image.blobs.get(big?.digest ?? '') ?? Buffer.alloc(0);
    registry.script = (request, response, count) => {
      if (!request.url?.endsWith(big?.digest ?? '-') || count > 1) return;
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 100_000), () => response.destroy());
      return true;
    };
    await pull(`${registry.host}/app`);
    expect(await readInLayer(big?.diffId ?? '-', 'b')).toBe('b'.repeat(300_000));
    expect(registry.requests.filter(({ range }) => range !== undefined)).toHaveLength(1);
  });
});

describe('a pull that cannot go on', () => {
  let registry: ScriptedRegistry;
  const noise = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 7919) % 251));
  const image = makeImage([{ files: { first: noise, second: noise }, compression: 'none' }]);
  const digest = image.layers[0]?.digest ?? '-';
  const blob = image.blobs.get(digest) ?? Buffer.alloc(0);
  beforeEach(async () => {
    registry = await startScriptedRegistry();
    registry.serve('app', image);
  });
  afterEach(() => registry.close());

  /** Sends that many bytes of the layer and then nothing, without an end. */
  function stallAfter(bytes: number): Promise<void> {
    const stalled = Promise.withResolvers<void>();
    registry.script = (request, response) => {
      if (!request.url?.endsWith(digest)) return;
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, bytes), () => stalled.resolve());
      return true;
    };
    return stalled.promise;
  }

  it('because its time is over says so', async () => {
    void stallAfter(1000);
    await expect(pull(`${registry.host}/app`, { signal: AbortSignal.timeout(500) })).rejects.toMatchObject({
      code: 'timeout',
    });
    expect(await stored()).toEqual([]);
  });

  it('because it is cancelled ends with the reason of its signal, and the store is empty', async () => {
    const cancel = new AbortController();
    const reason = new Error('cancelled by test');
    const pulled = pull(`${registry.host}/app`, { signal: cancel.signal });
    void stallAfter(2_000_000).then(() => cancel.abort(reason));
    await expect(pulled).rejects.toBe(reason);
    const { stdout } = await run('find', [layers.root, '-name', 'first'], { timeoutMs: 5_000 });
    expect(stdout).toBe('');
  });

  it('because a layer is too large ends, though the registry has stopped sending', async () => {
    void stallAfter(2_500_000);
    const patient = { ...QUICK_LIMITS, idleMs: 25_000 };
    const other = createImagePuller({ layers, unpacker, registries: registryConfig(), limits: patient });
    const signal = AbortSignal.timeout(10_000);
    await expect(
      other.pull(parseReference(`${registry.host}/app`), options({ signal, maxBytes: 1000 })),
    ).rejects.toMatchObject({
      code: 'image_invalid',
    });
    await other.close();
  });

  it('because the disk is full says so, and leaves room', async () => {
    const small = join(directory, 'small');
    await run('mkdir', [small], { timeoutMs: 5_000 });
    mount('tmpfs', small, 'tmpfs', 0, 'size=4m');
    try {
      const store = await createLayerStore(join(small, 'store'));
      const other = createImagePuller({ layers: store, unpacker, registries: registryConfig(), limits: QUICK_LIMITS });
      await expect(other.pull(parseReference(`${registry.host}/app`), options())).rejects.toMatchObject({
        code: 'insufficient_storage',
      });
      await other.close();
      expect(await store.list()).toEqual([]);
      const { stdout } = await run('find', [small, '-name', 'first'], { timeoutMs: 5_000 });
      expect(stdout).toBe('');
    } finally {
      unmount(small, MNT_DETACH);
    }
  });
});

describe('two pulls at once', () => {
  let registry: ScriptedRegistry;
  const shared = { files: { shared: Buffer.alloc(200_000, 's') }, compression: 'none' } as const;
  const one = makeImage([shared, { files: { one: '1' } }]);
  const two = makeImage([shared, { files: { two: '2' } }]);
  const [layer] = one.layers;
  const digest = layer?.digest ?? '-';
  let gate: PromiseWithResolvers<void>;
  let asked: PromiseWithResolvers<void>;

  beforeEach(async () => {
    registry = await startScriptedRegistry();
    registry.serve('one', one);
    registry.serve('two', two);
    gate = Promise.withResolvers();
    asked = Promise.withResolvers();
    registry.script = (request, response, count) => {
      if (!request.url?.endsWith(digest) || count > 1) return;
      const blob = one.blobs.get(digest) ?? Buffer.alloc(0);
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 1000));
      void gate.promise.then(() => response.end(blob.subarray(1000)));
      asked.resolve();
      return true;
    };
  });
  afterEach(() => registry.close());

  /** The other image, pulled as far as it comes without the layer that both need. */
  async function startSecond(): Promise<{ second: ReturnType<typeof pull> }> {
    const waiting = Promise.withResolvers<void>();
    const onProgress = ({ layersReady }: PullProgress) => layersReady === 1 && waiting.resolve();
    const second = pull(`${registry.host}/two`, { onProgress });
    await waiting.promise;
    return { second };
  }

  it('fetch a layer that both need once', async () => {
    const first = pull(`${registry.host}/one`);
    await asked.promise;
    const { second } = await startSecond();
    gate.resolve();
    expect((await first).layers).toEqual(diffIds(one));
    expect((await second).layers).toEqual(diffIds(two));
    expect(registry.count(digest)).toBe(1);
  });

  it('do not stop each other: the download goes on when the one that began it is cancelled', async () => {
    const cancel = new AbortController();
    const first = pull(`${registry.host}/one`, { signal: cancel.signal });
    first.catch(() => {});
    await asked.promise;
    const { second } = await startSecond();
    cancel.abort(new Error('cancelled by test'));
    await expect(first).rejects.toThrow('cancelled by test');
    gate.resolve();
    expect((await second).layers).toEqual(diffIds(two));
    expect(registry.count(digest)).toBe(1);
  });

  it('do not fail together: what is denied to one is fetched by the other', async () => {
    registry.script = (request, response) => {
      if (!request.url?.includes('/one/blobs/') || !request.url.endsWith(digest)) return;
      asked.resolve();
      void gate.promise.then(() => sendError(response, 403, 'DENIED', 'not for you'));
      return true;
    };
    const first = pull(`${registry.host}/one`);
    first.catch(() => {});
    await asked.promise;
    const { second } = await startSecond();
    gate.resolve();
    await expect(first).rejects.toMatchObject({ code: 'image_unavailable' });
    expect((await second).layers).toEqual(diffIds(two));
  });

  it('cancelled both, stop the download and leave nothing', async () => {
    const cancel = new AbortController();
    const first = pull(`${registry.host}/one`, { signal: cancel.signal });
    first.catch(() => {});
    await asked.promise;
    const second = pull(`${registry.host}/two`, { signal: cancel.signal });
    second.catch(() => {});
    cancel.abort(new Error('cancelled by test'));
    await expect(first).rejects.toThrow('cancelled by test');
    await expect(second).rejects.toThrow('cancelled by test');
    expect(await stored()).not.toContain(layer?.diffId);
    const { stdout } = await run('find', [layers.root, '-name', 'shared'], { timeoutMs: 5_000 });
    expect(stdout).toBe('');
  });

  it('of an image whose manifest may not be read get nothing of it, though its layers are there', async () => {
    gate.resolve();
    await pull(`${registry.host}/one`);
    registry.script = (request, response) => {
      if (!request.url?.includes('/manifests/')) return;
      sendError(response, 401, 'UNAUTHORIZED', 'who are you');
      return true;
    };
    await expect(pull(`${registry.host}/one`)).rejects.toMatchObject({ code: 'image_unavailable' });
  });
});

/** Recompresses with gzip, since the comparison tool reads nothing else. */
async function writeUmociLayout(directory: string, from: string): Promise<void> {
  const args = ['copy', '--insecure-policy', '--dest-compress', '--dest-compress-format', 'gzip', from];
  await run('skopeo', [...args, `dir:${directory}.dir`], { timeoutMs: 60_000 });
  await run('skopeo', ['copy', '--insecure-policy', `dir:${directory}.dir`, `oci:${directory}:latest`], {
    timeoutMs: 60_000,
  });
}

async function listTree(root: string, idBase: number): Promise<string> {
  const format = '%P %y %m %U %G %s %l %Ts\\n';
  const { stdout } = await run('find', [root, '-mindepth', '1', '!', '-type', 'd', '-printf', format], {
    timeoutMs: 10_000,
  });
  const unshift = (line: string) =>
    line.replace(/ (\d{10}) (\d{10}) /, (_all, uid, gid) => ` ${Number(uid) - idBase} ${Number(gid) - idBase} `);
  return stdout.split('\n').map(unshift).sort().join('\n');
}
