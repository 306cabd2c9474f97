import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mount, unmount } from '../platform/libc.ts';
import { run } from '../platform/process.ts';
import { createPullFixture, diffIds, ID_BASE, type PullFixture } from './testing/pull-fixture.ts';
import { type RegistryServer, startRegistryServer } from './testing/registry-server.ts';
import { makeImage } from './testing/test-image.ts';
import type { Layer, PullProgress } from './types.ts';

let fixture: PullFixture;
beforeEach(async () => {
  fixture = await createPullFixture();
});
afterEach(() => fixture.close());

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

  const opaque = makeImage([base, { files: { '.wh..wh..opq': '', new: 'new' } }, { files: { newer: 'newer' } }]);

  const implied = makeImage([base, { files: { 'etc/more': 'x', 'new/file': 'y' } }]);

  beforeAll(async () => {
    registry = await startRegistryServer();
    await registry.push('app:1', image);
    await registry.push('twice:1', twice);
    await registry.push('scratch:1', makeImage([]));
    await registry.push('fresh:1', opaque);
    await registry.push('implied:1', implied);
  }, 60_000);
  afterAll(() => registry.close());

  it('fills the store with gzip, zstd and plain layers, and names the image by its digest', async () => {
    const progress: PullProgress[] = [];
    const pulled = await fixture.pull(`${registry.host}/app:1`, { onProgress: (state) => progress.push(state) });
    expect(pulled).toMatchObject({
      resolved: `${registry.host}/app@${image.digest}`,
      layers: diffIds(image),
      config: { cmd: ['sh'] },
    });
    expect(await fixture.stored()).toEqual(diffIds(image).sort());
    expect(pulled.sizeBytes).toBe((await fixture.layers.list()).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
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

  it('keeps the look of a directory that a later layer has a file in and does not list', async () => {
    const pulled = await fixture.pull(`${registry.host}/implied:1`);
    expect(pulled.layers.slice(0, 2)).toEqual(diffIds(implied));
    expect(pulled.layers).toHaveLength(3);
    const [first, , top] = await Promise.all(pulled.layers.map((diffId) => fixture.layers.get(diffId)));
    const look = async (layer: Layer | undefined) => {
      const { mode, uid, gid, mtimeMs } = await stat(join(layer?.path ?? '', 'etc'));
      return { mode, uid, gid, mtimeMs };
    };
    expect(await look(top)).toEqual(await look(first));
    expect(await readdir(top?.path ?? '')).toEqual(['etc']);
    // The same image again needs the same layer, which is there.
    expect((await fixture.pull(`${registry.host}/implied:1`)).layers).toEqual(pulled.layers);
  });

  it('leaves out the layers below one that hides everything', async () => {
    const pulled = await fixture.pull(`${registry.host}/fresh:1`);
    expect(pulled.layers).toEqual(diffIds(opaque).slice(1));
  });

  it('gives the tree that skopeo and umoci give', async () => {
    const pulled = await fixture.pull(`${registry.host}/app:1`);
    const paths = await Promise.all(pulled.layers.map((diffId) => fixture.layers.get(diffId)));
    const merged = join(fixture.directory, 'merged');
    const bundle = join(fixture.directory, 'bundle');
    const layout = `oci:${join(fixture.directory, 'oci')}:latest`;
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
      await writeUmociLayout(join(fixture.directory, 'gzip'), layout);
      await run('umoci', ['unpack', '--image', `${join(fixture.directory, 'gzip')}:latest`, bundle], {
        timeoutMs: 60_000,
      });
      const shown = await listTree(merged, ID_BASE);
      expect(shown).toContain('etc/motd');
      expect(shown).toEqual(await listTree(join(bundle, 'rootfs'), 0));
      await run('diff', ['-r', merged, join(bundle, 'rootfs')], { timeoutMs: 30_000 });
    } finally {
      unmount(merged);
    }
  });

  it('of an image without layers has none', async () => {
    expect(await fixture.pull(`${registry.host}/scratch:1`)).toMatchObject({ layers: [], sizeBytes: 0 });
  });

  it('of an image that has a layer twice has it once, where it is on top, and can be mounted', async () => {
    const [first, empty, between] = diffIds(twice);
    const pulled = await fixture.pull(`${registry.host}/twice:1`);
    expect(pulled.layers).toEqual([between, empty, first]);
    const paths = await Promise.all(pulled.layers.map((diffId) => fixture.layers.get(diffId)));
    const merged = join(fixture.directory, 'merged');
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
    await fixture.pull(`${registry.host}/app:1`);
    const progress: PullProgress[] = [];
    const again = await fixture.pull(`${registry.host}/app:1`, { onProgress: (state) => progress.push(state) });
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
    await expect(fixture.pull(`${registry.host}/app:1`, { maxBytes: 1000 })).rejects.toMatchObject(refusal);
    await fixture.pull(`${registry.host}/app:1`);
    await expect(fixture.pull(`${registry.host}/app:1`, { maxBytes: 1000 })).rejects.toMatchObject(refusal);
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
