import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy.ts';

/** What a person sees when a registry or the disk fails: a state that ends, with a reason that says what to do. */
let darkroom: Darkroom;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  darkroom = await startDarkroom({ config: { pool: { maxBytes: 640 * 2 ** 20 } } });
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

afterAll(async () => {
  await darkroom?.destroy();
});

interface Snapshot {
  id: string;
  state: string;
  errorReason: string | null;
}

let count = 0;
async function outcome(imageName: string): Promise<Snapshot> {
  const name = `case-${count++}`;
  const created = await darkroom.api('/snapshots', { method: 'POST', body: { name, imageName } });
  expect(created.status, await created.clone().text()).toBe(200);
  return eventually(
    `snapshot of ${imageName} ends`,
    async () => {
      const snapshot = await jsonOf<Snapshot>(darkroom.api(`/snapshots/${name}`));
      return ['active', 'error'].includes(snapshot.state) ? snapshot : undefined;
    },
    90_000,
  );
}

/** A registry in front of the real one that answers some requests itself. */
async function failingRegistry(
  answer: (
    path: string,
    attempt: number,
  ) => { status: number; headers?: Record<string, string>; body?: string | Buffer } | undefined,
): Promise<string> {
  const attempts = new Map<string, number>();
  const server: Server = createServer(async (request, response) => {
    const path = request.url ?? '/';
    const attempt = (attempts.get(path) ?? 0) + 1;
    attempts.set(path, attempt);
    const own = answer(path, attempt);
    if (own !== undefined) {
      response.writeHead(own.status, own.headers).end(own.body);
      return;
    }
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(([name, value]) => name !== 'host' && typeof value === 'string'),
    ) as Record<string, string>;
    const real = await fetch(`${inject('registryUrl')}${path}`, { method: request.method ?? 'GET', headers });
    response.writeHead(
      real.status,
      Object.fromEntries([...real.headers].filter(([name]) => name !== 'content-encoding')),
    );
    response.end(Buffer.from(await real.arrayBuffer()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return `127.0.0.1:${address.port}`;
}

const image = (host: string) => `${host}/library/${inject('baseImage')}`;

describe('a registry that fails', () => {
  test('is down: the reason names it', async () => {
    expect(await outcome('127.0.0.1:1/some/image:1')).toMatchObject({
      state: 'error',
      errorReason: expect.stringContaining('127.0.0.1:1'),
    });
  });

  test('refuses with 401: the reason says to add credentials', async () => {
    const host = await failingRegistry(() => ({
      status: 401,
      headers: { 'www-authenticate': 'Basic realm="private"' },
    }));
    expect(await outcome(image(host))).toMatchObject({
      state: 'error',
      errorReason: expect.stringMatching(/credential/i),
    });
  });

  test('does not have the tag: the reason names the reference', async () => {
    const host = new URL(inject('registryUrl')).host;
    expect(await outcome(`${host}/library/python:0.0.1`)).toMatchObject({
      state: 'error',
      errorReason: expect.stringContaining('python:0.0.1'),
    });
  });

  test('answers 429 and then goes on: the pull waits and succeeds', async () => {
    const host = await failingRegistry((path, attempt) =>
      path.includes('/manifests/') && attempt === 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined,
    );
    expect(await outcome(image(host))).toMatchObject({ state: 'active' });
  });

  test('gives other bytes than it promised: both digests are in the reason', async () => {
    const host = await failingRegistry((path) => {
      const blob = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(path);
      return blob === null ? undefined : { status: 200, body: 'something else' };
    });
    const { state, errorReason } = await outcome(image(host));
    expect(state).toBe('error');
    expect(errorReason?.match(/sha256:[0-9a-f]{64}/g)?.length).toBeGreaterThanOrEqual(1);
  });
});

describe('a connection that is cut in mid-layer', () => {
  let proxy: SlowProxy;
  test('is taken up again', async () => {
    proxy = await startSlowProxy(inject('registryUrl'), 40 * 2 ** 20);
    closing.push(proxy.close);
    const fresh = await startDarkroom();
    closing.push(fresh.destroy);
    await fresh.api('/snapshots', { method: 'POST', body: { name: 'cut', imageName: image(new URL(proxy.url).host) } });
    await proxy.untilPassed(20 * 2 ** 20);
    proxy.cut();
    const snapshot = await eventually('the snapshot ends', async () => {
      const seen = await jsonOf<Snapshot>(fresh.api('/snapshots/cut'));
      return ['active', 'error'].includes(seen.state) ? seen : undefined;
    });
    expect(snapshot).toMatchObject({ state: 'active', errorReason: null });
  });
});

describe('a disk that fills up', () => {
  test('during a pull: the snapshot ends with that reason, the space is free again, and small work goes on', async () => {
    const big = `127.0.0.1:${new URL(inject('registryUrl')).port}/library/padded:700mb`;
    const { state, errorReason } = await outcome(big);
    expect(state).toBe('error');
    expect(errorReason).toMatch(/space|disk/i);
    expect(await outcome(`${new URL(inject('registryUrl')).host}/library/${inject('baseImage')}`)).toMatchObject({
      state: 'active',
    });
  });
});
