import { afterAll, beforeAll } from 'vitest';
import type { NewSnapshot } from '../lifecycle/move.ts';
import { type HttpClient, httpClient } from './http-client.ts';
import type { Layer } from './layers.ts';
import { startTestServer, type TestServer, type TestServerOptions } from './test-server.ts';

/** A server and an organization on it. `client` and `snapshot` may be taken at once; the rest is there when the tests run. */
export interface ServerLab {
  readonly server: TestServer;
  readonly organizationId: string;
  readonly apiKey: string;
  readonly client: HttpClient;
  /** The name of the snapshot, which is the one of sandboxes that ask for none. */
  readonly snapshot: string;
}

export interface ServerSetup extends TestServerOptions {
  /** Of the snapshot; without it there is none. */
  layer?: Layer;
  values?: Partial<NewSnapshot>;
}

/**
 * Starts a server before the tests of a file or `describe`, with an organization, a key of it and a snapshot, and stops it after
 * them. A function is asked when the server starts, for what other hooks make.
 */
export function setUpServer(setup: ServerSetup | (() => ServerSetup) = {}): ServerLab {
  const snapshot = 'default';
  let server: TestServer | undefined;
  let tenant: { organizationId: string; apiKey: string } | undefined;
  beforeAll(async () => {
    const { layer, values, ...options } = typeof setup === 'function' ? setup() : setup;
    server = await startTestServer(options);
    const organizationId = await server.addOrganization();
    tenant = { organizationId, apiKey: await server.addKey(organizationId) };
    if (layer !== undefined) await server.addSnapshot(organizationId, layer, { name: snapshot, ...values });
  }, 120_000);
  afterAll(() => server?.stop());

  const lab: ServerLab = {
    get server() {
      return started(server);
    },
    get organizationId() {
      return started(tenant).organizationId;
    },
    get apiKey() {
      return started(tenant).apiKey;
    },
    client: httpClient(
      () => lab.server.url,
      () => lab.apiKey,
    ),
    snapshot,
  };
  return lab;
}

function started<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('the server starts with the tests');
  return part;
}
