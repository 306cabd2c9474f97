import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPullFixture, diffIds, type PullFixture } from './testing/pull-fixture.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from './testing/scripted-registry.ts';
import { makeImage } from './testing/test-image.ts';
import type { PullProgress } from './types.ts';

let fixture: PullFixture;
beforeEach(async () => {
  fixture = await createPullFixture();
});
afterEach(() => fixture.close());

describe('the layers of one pull', () => {
  it('are fetched side by side', async () => {
    const registry = await startScriptedRegistry();
    const image = makeImage(['a', 'b', 'c'].map((name) => ({ files: { [name]: name } })));
    registry.serve('app', image);
    const all = Promise.withResolvers<void>();
    let open = 0;
    registry.script = (request, response) => {
      const layer = image.layers.find(({ digest }) => request.url?.endsWith(digest));
      if (layer === undefined) return;
      open += 1;
      if (open === image.layers.length) all.resolve();
      // None is answered before all are asked for.
      void all.promise.then(() => response.end(image.blobs.get(layer.digest)));
      return true;
    };
    try {
      expect((await fixture.pull(`${registry.host}/app`)).layers).toEqual(diffIds(image));
    } finally {
      await registry.close();
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
  async function startSecond(): Promise<{ second: ReturnType<PullFixture['pull']> }> {
    const waiting = Promise.withResolvers<void>();
    const onProgress = ({ layersReady }: PullProgress) => layersReady === 1 && waiting.resolve();
    const second = fixture.pull(`${registry.host}/two`, { onProgress });
    await waiting.promise;
    return { second };
  }

  it('fetch a layer that both need once', async () => {
    const first = fixture.pull(`${registry.host}/one`);
    await asked.promise;
    const { second } = await startSecond();
    gate.resolve();
    expect((await first).layers).toEqual(diffIds(one));
    expect((await second).layers).toEqual(diffIds(two));
    expect(registry.count(digest)).toBe(1);
  });

  it('do not stop each other: the download goes on when the one that began it is cancelled', async () => {
    const cancel = new AbortController();
    const first = fixture.pull(`${registry.host}/one`, { signal: cancel.signal });
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
    const first = fixture.pull(`${registry.host}/one`);
    first.catch(() => {});
    await asked.promise;
    const { second } = await startSecond();
    gate.resolve();
    await expect(first).rejects.toMatchObject({ code: 'image_unavailable' });
    expect((await second).layers).toEqual(diffIds(two));
  });

  it('cancelled both, stop the download and leave nothing', async () => {
    const cancel = new AbortController();
    const first = fixture.pull(`${registry.host}/one`, { signal: cancel.signal });
    first.catch(() => {});
    await asked.promise;
    const second = fixture.pull(`${registry.host}/two`, { signal: cancel.signal });
    second.catch(() => {});
    cancel.abort(new Error('cancelled by test'));
    await expect(first).rejects.toThrow('cancelled by test');
    await expect(second).rejects.toThrow('cancelled by test');
    expect(await fixture.stored()).not.toContain(layer?.diffId);
    expect(await fixture.find('shared')).toBe('');
  });

  it('of an image whose manifest may not be read get nothing of it, though its layers are there', async () => {
    gate.resolve();
    await fixture.pull(`${registry.host}/one`);
    registry.script = (request, response) => {
      if (!request.url?.includes('/manifests/')) return;
      sendError(response, 401, 'UNAUTHORIZED', 'who are you');
      return true;
    };
    await expect(fixture.pull(`${registry.host}/one`)).rejects.toMatchObject({ code: 'image_unavailable' });
  });
});
