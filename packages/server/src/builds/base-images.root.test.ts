import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLayerStore } from '../images/layer-store.ts';
import { createPullFixture, diffIds, type PullFixture } from '../images/testing/pull-fixture.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from '../images/testing/scripted-registry.ts';
import { makeImage } from '../images/testing/test-image.ts';
import { createLayerKeeper, type LayerKeeper } from '../snapshots/layer-keeper.ts';
import { unreachableLayers } from '../snapshots/reachable-layers.ts';
import { addOrganization } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import type { BaseImages } from './base-images.ts';
import { createBaseImages } from './base-images-from-registries.ts';

let database: TestDatabase;
let fixture: PullFixture;
let registry: ScriptedRegistry;
let keeper: LayerKeeper;
let bases: BaseImages;
let organizationId: string;
beforeAll(async () => {
  database = await startTestDatabase();
});
afterAll(() => database.stop());
beforeEach(async () => {
  await database.reset();
  organizationId = await addOrganization(database.db);
  fixture = await createPullFixture();
  registry = await startScriptedRegistry();
  registry.serve('app', first);
  keeper = createLayerKeeper(await createLayerStore(join(fixture.directory, 'own'), { graceMs: 0 }));
  const puller = fixture.otherPuller({ layers: keeper, limits: { attempts: 2 } });
  bases = createBaseImages({
    db: database.db,
    puller,
    layers: keeper,
    credentialsFor: () => async () => undefined,
    runnerId: 'here',
  });
});
afterEach(async () => {
  await registry.close().catch(() => {});
  await fixture.close();
});

const first = makeImage([{ files: { a: 'one' } }, { files: { b: 'two' } }], { config: { Cmd: ['x'] } });
const second = makeImage([{ files: { a: 'other' } }]);

async function obtain(
  tag = 'latest',
  options: { organization?: string; maxBytes?: number; signal?: AbortSignal; repository?: string } = {},
) {
  const notes: string[] = [];
  const reference = `${registry.host}/${options.repository ?? 'app'}${tag.startsWith('sha256:') ? '@' : ':'}${tag}`;
  const request = {
    organizationId: options.organization ?? organizationId,
    reference,
    maxBytes: options.maxBytes ?? 1e9,
    note: (text: string) => void notes.push(text),
  };
  const image = await bases.obtain(request, options.signal ?? AbortSignal.timeout(30_000));
  return { ...image, notes };
}

const asked = () => registry.requests.splice(0).map(({ method, path }) => `${method} ${path}`);

describe('a tag', () => {
  it('is pulled, and then costs one request as long as it means the same', async () => {
    const image = await obtain();
    expect(image).toMatchObject({
      resolved: `${registry.host}/app@${first.digest}`,
      layers: diffIds(first),
      config: { cmd: ['x'] },
    });
    expect(image.notes.at(-1)).toMatch(/^Pulled .*\/app:latest: 2 layers/);
    asked();
    expect(await obtain()).toEqual({ ...image, notes: [] });
    expect(asked()).toEqual(['HEAD /v2/app/manifests/latest']);
  });

  it('is what it means now', async () => {
    await obtain();
    registry.serve('app', second);
    expect((await obtain()).layers).toEqual(diffIds(second));
    expect((await obtain()).layers).toEqual(diffIds(second));
  });

  it('is asked for in full where the registry has no HEAD', async () => {
    const image = await obtain();
    registry.script = (request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end();
      return request.method === 'HEAD';
    };
    expect(await obtain()).toEqual({ ...image, notes: [] });
  });

  it('is pulled again when its layers have gone', async () => {
    const image = await obtain();
    await keeper.sweep(async (stored) => new Set(stored.map(({ diffId }) => diffId)));
    expect((await obtain()).layers).toEqual(image.layers);
  });

  it('is pulled once for all who ask at the same time, and for one who stays when the others go', async () => {
    const leaving = new AbortController();
    const gone = obtain('latest', { signal: leaving.signal });
    const others = Array.from({ length: 5 }, () => obtain());
    leaving.abort(new Error('gone'));
    await expect(gone).rejects.toThrow('gone');
    expect(new Set((await Promise.all(others)).map(({ resolved }) => resolved)).size).toBe(1);
    expect(registry.count('/manifests/latest')).toBe(1);
  });

  it('keeps its layers from the sweeper for the builds to come', async () => {
    await obtain();
    const unreachable = unreachableLayers(database.db, [...diffIds(first), 'x'], 'here');
    expect(await unreachable).toEqual(['x']);
  });
});

describe('without the registry', () => {
  it('a tag is what it was for this organization, and the build is told', async () => {
    const { notes, ...image } = await obtain();
    await registry.close();
    const later = await obtain();
    expect(later).toEqual({ ...image, notes: later.notes });
    expect(later.notes).toEqual([
      expect.stringMatching(/ECONNREFUSED.*Instead, what .*\/app:latest meant at 20.* UTC/),
    ]);
    expect(notes).not.toEqual(later.notes);
    const organization = await addOrganization(database.db, 'other');
    await expect(obtain('latest', { organization })).rejects.toMatchObject({ class: 'network', retryable: true });
  });

  it('so it is when the registry has a problem of its own', async () => {
    await obtain();
    registry.script = (_request, response) => {
      sendError(response, 503, 'UNAVAILABLE', 'try later');
      return true;
    };
    expect((await obtain()).notes).toEqual([expect.stringContaining('503')]);
  });

  it('a tag whose layers have gone is a failure', async () => {
    await obtain();
    await registry.close();
    await keeper.sweep(async (stored) => new Set(stored.map(({ diffId }) => diffId)));
    await expect(obtain()).rejects.toMatchObject({ class: 'network' });
  });

  it('a digest needs none, where this organization had it before', async () => {
    const image = await obtain(first.digest);
    asked();
    expect(await obtain(first.digest)).toEqual({ ...image, notes: [] });
    expect(asked()).toEqual([]);
    const organization = await addOrganization(database.db, 'other');
    await obtain(first.digest, { organization });
    expect(asked()).not.toEqual([]);
  });
});

describe('a failure says whose matter it is', () => {
  it.each([
    [401, 'UNAUTHORIZED', 'registry_auth', 'image_unavailable'],
    [403, 'DENIED', 'registry_auth', 'image_unavailable'],
    [404, 'MANIFEST_UNKNOWN', 'user', 'image_unavailable'],
    [429, 'TOOMANYREQUESTS', 'rate_limit', 'image_unavailable'],
  ])('of an answer %s, whatever the tag meant before', async (status, registryCode, kind, code) => {
    await obtain();
    registry.script = (_request, response) => {
      sendError(response, status, registryCode, 'no');
      return true;
    };
    await expect(obtain()).rejects.toMatchObject({ class: kind, code, hint: expect.any(String) });
  });

  it('of an image for another platform, of one that is too large, and of a name that is none', async () => {
    registry.serve('other', makeImage([{ files: {} }], { architecture: 's390x' }));
    await expect(obtain('latest', { repository: 'other' })).rejects.toMatchObject({
      class: 'user',
      message: expect.stringContaining('s390x'),
    });
    await expect(obtain('latest', { maxBytes: 1 })).rejects.toMatchObject({ class: 'limit_exceeded' });
    await obtain();
    await expect(obtain('latest', { maxBytes: 1 })).rejects.toMatchObject({ class: 'limit_exceeded' });
    await expect(obtain('latest', { repository: 'NoName' })).rejects.toMatchObject({
      class: 'user',
      code: 'invalid_request',
    });
  });
});
