import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Config } from '../../platform/config-schema.ts';
import { parseReference } from '../reference.ts';
import { ANONYMOUS, always, QUICK_LIMITS, registryConfig } from '../testing/fetching.ts';
import { startRegistryServer } from '../testing/registry-server.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from '../testing/scripted-registry.ts';
import { makeImage } from '../testing/test-image.ts';
import { startTokenServer } from '../testing/token-server.ts';
import type { CredentialLookup } from '../types.ts';
import { createRegistryClient } from './client.ts';

const image = makeImage([{ files: { a: 'a' } }]);
const other = makeImage([{ files: { b: 'b' } }]);

/** Whether the reference still means `image`. */
async function isStill(
  reference: string,
  options: { mirrors?: Config['registries']['mirrors']; credentials?: CredentialLookup } = {},
): Promise<boolean> {
  const client = createRegistryClient(registryConfig({ mirrors: options.mirrors ?? {} }), QUICK_LIMITS);
  try {
    const repository = client.repository(parseReference(reference), options.credentials ?? ANONYMOUS);
    return await repository.isStill(image.digest, AbortSignal.timeout(20_000));
  } finally {
    await client.close();
  }
}

describe('whether a tag still means the same', () => {
  let registry: ScriptedRegistry;
  let mirror: ScriptedRegistry;
  beforeEach(async () => {
    [registry, mirror] = await Promise.all([startScriptedRegistry(), startScriptedRegistry()]);
    registry.serve('app', image);
  });
  afterEach(() => Promise.all([registry.close().catch(() => {}), mirror.close().catch(() => {})]));

  const app = () => `${registry.host}/app`;
  const refusingHead = (status: number) => {
    registry.script = (request, response) => {
      if (request.method === 'HEAD') response.writeHead(status).end();
      return request.method === 'HEAD';
    };
  };

  it('is one request', async () => {
    expect(await isStill(app())).toBe(true);
    expect(registry.requests.filter(({ path }) => path !== '/v2/')).toEqual([
      expect.objectContaining({ method: 'HEAD', path: '/v2/app/manifests/latest' }),
    ]);
    registry.serve('app', other);
    expect(await isStill(app())).toBe(false);
  });

  it.each([404, 405, 401, 400])('is left to the full answer when it is refused with %i', async (status) => {
    refusingHead(status);
    expect(await isStill(app())).toBe(false);
  });

  it('is left to the full answer when the registry does not say its digest', async () => {
    refusingHead(200);
    expect(await isStill(app())).toBe(false);
  });

  it('is a failure when nobody answers', async () => {
    refusingHead(503);
    await expect(isStill(app())).rejects.toMatchObject({ details: { reason: 'server' } });
    const reference = app();
    await registry.close();
    await expect(isStill(reference)).rejects.toMatchObject({ details: { reason: 'unreachable' } });
  });

  it('is asked of mirrors first, and of the registry when they do not have it or do not answer', async () => {
    const mirrors = { [registry.host]: [`http://${mirror.host}`] };
    mirror.serve('app', image);
    expect(await isStill(app(), { mirrors })).toBe(true);
    expect(registry.requests).toEqual([]);
    mirror.script = (_request, response) => {
      sendError(response, 404, 'MANIFEST_UNKNOWN', 'no');
      return true;
    };
    expect(await isStill(app(), { mirrors })).toBe(true);
    await mirror.close();
    expect(await isStill(app(), { mirrors })).toBe(true);
  });
});

it('is asked with the credentials of who asks, by the token that a real registry wants', async () => {
  const user = { username: 'user', password: 's3cret-pass' };
  const tokens = await startTokenServer(user);
  try {
    const registry = await startRegistryServer({ auth: (directory) => tokens.auth(directory) });
    try {
      await registry.push('team/app:1', image, user);
      const reference = `${registry.host}/team/app:1`;
      expect(await isStill(reference, { credentials: always(user) })).toBe(true);
      expect(await isStill(reference)).toBe(false);
    } finally {
      await registry.close();
    }
  } finally {
    await tokens.close();
  }
}, 60_000);
