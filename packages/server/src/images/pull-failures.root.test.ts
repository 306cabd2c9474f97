import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MNT_DETACH, mount, unmount } from '../platform/libc.ts';
import { run } from '../platform/process.ts';
import { createLayerStore } from './layer-store.ts';
import { parseReference } from './reference.ts';
import { createPullFixture, diffIds, type PullFixture, pullOptions } from './testing/pull-fixture.ts';
import { type ScriptedRegistry, startScriptedRegistry } from './testing/scripted-registry.ts';
import { makeImage } from './testing/test-image.ts';

let fixture: PullFixture;
beforeEach(async () => {
  fixture = await createPullFixture();
});
afterEach(() => fixture.close());

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
    await expect(fixture.pull(`${registry.host}/app`)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringMatching(new RegExp(`${big?.digest}.*sha256:|sha256:.*${big?.digest}`)),
    });
    expect(await fixture.stored()).not.toContain(big?.diffId);
    expect(await fixture.find('b')).toBe('');
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
    await expect(fixture.pull(`${registry.host}/lying`)).rejects.toMatchObject({
      code: 'image_invalid',
      message: expect.stringContaining(diffIds(lying)[0] ?? '-'),
    });
    expect(await fixture.stored()).toEqual([]);
  });

  it('are fetched to the end through a connection that breaks', async () => {
    const blob = image.blobs.get(big?.digest ?? '') ?? Buffer.alloc(0);
    registry.script = (request, response, count) => {
      if (!request.url?.endsWith(big?.digest ?? '-') || count > 1) return;
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 100_000), () => response.destroy());
      return true;
    };
    await fixture.pull(`${registry.host}/app`);
    const stored = await fixture.layers.get(big?.diffId ?? '-');
    expect(await readFile(join(stored?.path ?? '/nowhere', 'b'), 'utf8')).toBe('b'.repeat(300_000));
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
    await expect(fixture.pull(`${registry.host}/app`, { signal: AbortSignal.timeout(500) })).rejects.toMatchObject({
      code: 'timeout',
    });
    expect(await fixture.stored()).toEqual([]);
  });

  it('because it is cancelled ends with the reason of its signal, and the store is empty', async () => {
    const cancel = new AbortController();
    const reason = new Error('cancelled by test');
    const pulled = fixture.pull(`${registry.host}/app`, { signal: cancel.signal });
    void stallAfter(2_000_000).then(() => cancel.abort(reason));
    await expect(pulled).rejects.toBe(reason);
    expect(await fixture.find('first')).toBe('');
  });

  it('because a layer is too large ends, though the registry has stopped sending', async () => {
    void stallAfter(2_500_000);
    const patient = fixture.otherPuller({ limits: { idleMs: 25_000 } });
    const pulled = patient.pull(
      parseReference(`${registry.host}/app`),
      pullOptions({ signal: AbortSignal.timeout(10_000), maxBytes: 1000 }),
    );
    await expect(pulled).rejects.toMatchObject({ code: 'image_invalid' });
  });

  it('because the disk is full says so, and leaves room', async () => {
    const small = join(fixture.directory, 'small');
    await run('mkdir', [small], { timeoutMs: 5_000 });
    mount('tmpfs', small, 'tmpfs', 0, 'size=4m');
    try {
      const store = await createLayerStore(join(small, 'store'));
      const pulled = fixture.otherPuller({ layers: store }).pull(parseReference(`${registry.host}/app`), pullOptions());
      await expect(pulled).rejects.toMatchObject({ code: 'insufficient_storage' });
      expect(await store.list()).toEqual([]);
      const { stdout } = await run('find', [small, '-name', 'first'], { timeoutMs: 5_000 });
      expect(stdout).toBe('');
    } finally {
      unmount(small, MNT_DETACH);
    }
  });
});
