import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../test-support/test-api.ts';

let api: TestApi;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
}, 60_000);
afterAll(() => api?.stop());

const isError = (answer: { body: object }, status: number, message: string) =>
  expect(answer.body).toEqual({
    path: expect.any(String),
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    statusCode: status,
    error: expect.any(String),
    message,
  });

describe('a key', () => {
  it.each([
    ['none', null, {}],
    ['an unknown one', `dtn_${'0'.repeat(64)}`, {}],
    ['one of another shape', 'sk_live_123', {}],
    ['an empty one', '', {}],
    ['another scheme', null, { authorization: 'Basic dXNlcjpwYXNz' }],
  ])('%s gives 401', async (_what, given, headers) => {
    const answer = await api.ask('GET', '/api/snapshots', { key: given, headers });
    expect(answer.status).toBe(401);
    isError(answer, 401, 'Invalid credentials');
  });

  it('that has expired gives 401', async () => {
    const expired = await api.addKey(organizationId, { expiresAt: new Date(Date.now() - 1000) });
    expect((await api.ask('GET', '/api/snapshots', { key: expired })).status).toBe(401);
  });

  it('works with the header of its own organization and is refused with that of another', async () => {
    const as = (id: string) => api.ask('GET', '/api/snapshots', { key, headers: { 'x-daytona-organization-id': id } });
    expect((await as(organizationId)).status).toBe(200);
    expect((await as(crypto.randomUUID())).status).toBe(403);
  });

  it('has its last use noted', async () => {
    const fresh = await api.addKey(await api.addOrganization());
    await api.ask('GET', '/api/snapshots', { key: fresh });
    await expect
      .poll(async () => (await api.ask('GET', '/api/api-keys/current', { key: fresh })).body.lastUsedAt)
      .not.toBeNull();
  });
});

describe('what cannot be answered', () => {
  it.each(['/api/nothing', '/api/socket.io/?EIO=4&transport=websocket', '/nothing', '/api'])(
    '%s is 404 in the shape of errors',
    async (path) => {
      const answer = await api.ask('GET', path, { key });
      expect(answer.status).toBe(404);
      isError(answer, 404, `Cannot GET ${path}`);
    },
  );

  it('is 404 for a route of the toolbox in its own shape', async () => {
    const { status, body } = await api.ask('GET', '/toolbox/x/nothing', { key });
    expect(status).toBe(404);
    expect(body).toMatchObject({ statusCode: 404, code: 'NOT_FOUND', method: 'GET', path: '/toolbox/x/nothing' });
  });

  it.each([
    ['broken JSON', '{"name":', 400, 'The body is not valid JSON'],
    ['a list', '[]', 400, 'body must be an object'],
    ['nothing', '', 400, 'body must be an object'],
  ])('%s as a body is %s', async (_what, body, status, message) => {
    const answer = await api.ask('POST', '/api/snapshots', { key, body });
    expect(answer.status).toBe(status);
    isError(answer, status, message);
  });

  it('a body that is too large is 413, and one of another kind 415', async () => {
    const large = await api.ask('POST', '/api/snapshots', { key, body: `"${'x'.repeat(11 * 1024 * 1024)}"` });
    expect([large.status, large.body.error]).toEqual([413, 'Payload Too Large']);
    const headers = { 'content-type': 'text/xml' };
    expect((await api.ask('POST', '/api/snapshots', { key, body: '<a/>', headers })).status).toBe(415);
  });

  it('a body of more values than any route takes is 413, before each of them is judged', async () => {
    const body = `{"name":"x","entrypoint":[${'1,'.repeat(100_000)}1]}`;
    const { status, body: error } = await api.ask('POST', '/api/snapshots', { key, body });
    expect([status, error.message]).toEqual([413, 'The body has more than 50000 values']);
  });

  it('a body that is wrong in many places says so of some', async () => {
    const body = { name: 'x', imageName: 'a:1', entrypoint: Array(1000).fill(1) };
    const { status, body: error } = await api.ask('POST', '/api/snapshots', { key, body });
    expect([status, error.message.split(', ')]).toEqual([400, expect.any(Array)]);
    expect(error.message.length).toBeLessThan(2000);
  });

  it('an address that is no address is 400', async () => {
    const { status, body } = await api.ask('GET', '/api/snapshots/%zz', { key });
    expect([status, body.statusCode]).toEqual([400, 400]);
  });

  it('shows nothing of what went wrong inside, but the id that the log has it under', async () => {
    await api.db.schema.alterTable('registries').renameTo('elsewhere').execute();
    try {
      const answer = await api.ask('GET', '/api/docker-registry', { key, headers: { 'x-request-id': 'my-id' } });
      isError(answer, 500, 'An unexpected error occurred.');
      expect(answer.headers['x-request-id']).toBe('my-id');
    } finally {
      await api.db.schema.alterTable('elsewhere').renameTo('registries').execute();
    }
  });
});

describe('every answer', () => {
  it('of the API names the version of the API, errors too', async () => {
    for (const path of ['/api/snapshots', '/api/nothing', '/api/config']) {
      expect((await api.ask('GET', path, { key })).headers['x-daytona-api-version']).toBe('v0.190.0');
    }
  });

  it('has a request id, never one that could break a log', async () => {
    const ask = (id: string) => api.ask('GET', '/health', { key: null, headers: { 'x-request-id': id } });
    expect((await ask('abc-1')).headers['x-request-id']).toBe('abc-1');
    expect((await ask('a"b c')).headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('without a key', () => {
  it('health, metrics, the configuration and the shared regions can be read', async () => {
    for (const path of ['/health', '/health/ready', '/metrics', '/api/health', '/api/config', '/api/shared-regions']) {
      expect((await api.ask('GET', path, { key: null })).status, path).toBe(200);
    }
  });

  it('the configuration names the address that was asked', async () => {
    const { body } = await api.ask('GET', '/api/config', { key: null, headers: { host: 'sandboxes.example:3986' } });
    expect(body).toMatchObject({
      proxyToolboxUrl: 'http://sandboxes.example:3986/toolbox',
      maintananceMode: false,
      maxAutoArchiveInterval: 43_200,
      announcements: {},
    });
  });

  it('the OpenAPI document has the routes, and no schema that nothing uses', async () => {
    const { body, text } = await api.ask('GET', '/openapi.json', { key: null });
    expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(['/api/snapshots', '/api/snapshots/{id}']));
    const refused = body.paths['/api/organizations/{id}'].get.responses['4XX'].content['application/json'];
    expect(refused.schema).toEqual({ $ref: '#/components/schemas/ApiError' });
    const schemas = Object.keys(body.components.schemas);
    expect(schemas).toContain('CreateSnapshot');
    for (const name of schemas) expect(text).toContain(`"#/components/schemas/${name}"`);
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) expect(schemas).toContain(name);
  });

  it('the page to read them loads nothing from elsewhere', async () => {
    const { status, text } = await api.ask('GET', '/docs/', { key: null });
    expect(status).toBe(200);
    expect(text.match(/(src|href)="(https?:)?\/\//g)).toBeNull();
  });
});

it('a request that is too slow to name itself is cut off', () => {
  expect(api.app.server.headersTimeout).toBeGreaterThan(0);
  expect(api.app.server.requestTimeout).toBeGreaterThan(0);
  expect(api.app.server.keepAliveTimeout).toBeGreaterThan(0);
});
