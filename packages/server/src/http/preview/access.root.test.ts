import { once } from 'node:events';
import type { SignedPortPreviewUrlDto } from '@darkroom/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { httpClient } from '../../test-support/http-client.ts';
import { headersOf, openPreviewLab, type PreviewLab } from './testing/preview-lab.ts';

let lab: PreviewLab;
beforeAll(async () => {
  lab = await openPreviewLab();
}, 120_000);
afterAll(() => lab?.server.stop());

describe('who may see a port', () => {
  test('a private one: only who shows the lab.token, the cookie, a link, or a lab.key of its organization that may', async () => {
    expect((await lab.ask('/', lab.stranger())).statusCode).toBe(401);
    expect((await lab.ask('/', lab.stranger({ 'x-daytona-preview-token': 'a'.repeat(32) }))).statusCode).toBe(401);
    expect((await lab.ask('/', lab.stranger({ cookie: `daytona-sandbox-auth=${lab.token}` }))).statusCode).toBe(401);
    expect((await lab.ask('/', lab.stranger({ authorization: `Bearer ${lab.otherKey}` }))).statusCode).toBe(401);
    expect((await lab.ask('/', lab.stranger({ authorization: `Bearer ${lab.weakKey}` }))).statusCode).toBe(401);
    expect((await lab.ask('/', lab.stranger({ authorization: `Bearer ${lab.key}` }))).statusCode).toBe(200);
    expect((await lab.ask('/', lab.stranger({ 'x-daytona-preview-token': lab.token }))).statusCode).toBe(200);
    expect((await lab.ask(`/?DAYTONA_SANDBOX_AUTH_KEY=${lab.token}`, lab.stranger())).statusCode).toBe(200);
  });

  test('a public one: everybody, until it is private again', async () => {
    const publicity = (isPublic: boolean) => lab.api.post(`/api/sandbox/${lab.sandboxId}/public/${isPublic}`);
    await publicity(true);
    await expect.poll(async () => (await lab.ask('/', lab.stranger())).statusCode, { timeout: 5_000 }).toBe(200);
    await publicity(false);
    await expect.poll(async () => (await lab.ask('/', lab.stranger())).statusCode, { timeout: 5_000 }).toBe(401);
  });

  test('a browser that comes with the lab.key in the URL gets a cookie and an address without it', async () => {
    const page = { accept: 'text/html' };
    const target = `/a/b?x=1&DAYTONA_SANDBOX_AUTH_KEY=${lab.token}&y=%20`;
    const answer = await lab.ask(target, lab.stranger(page));
    expect(answer.statusCode).toBe(307);
    expect(answer.headers.location).toBe('/a/b?x=1&y=%20');
    const [cookie = ''] = answer.headers['set-cookie'] ?? [];
    expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/);
    expect(cookie).not.toContain(lab.token);
    const away = await lab.ask(`/\\/evil.test/?DAYTONA_SANDBOX_AUTH_KEY=${lab.token}`, lab.stranger(page));
    expect(away.headers.location).toBe('/evil.test/');
    const followed = await lab.echo('/a/b', lab.stranger({ cookie: `mine=1; ${cookie.split(';')[0]}; yours=2` }));
    expect(headersOf(followed).get('cookie')).toBe('mine=1; yours=2');
    const from = async (origin: string) =>
      (await lab.ask('/', lab.stranger({ cookie: cookie.split(';')[0] ?? '', origin: `http://${origin}` }))).statusCode;
    expect(await from(lab.hostOf(lab.sandboxId))).toBe(200);
    expect(await from(lab.hostOf(lab.sandboxId, 8000))).toBe(200);
    // Of another program, below the same domain.
    expect(await from(lab.hostOf(crypto.randomUUID()))).toBe(401);
  });

  test('a page of another origin may ask to send the token, and needs it all the same', async () => {
    const asking = (headers: string) => ({
      method: 'OPTIONS',
      ...lab.stranger({
        origin: 'https://app.example',
        'access-control-request-method': 'PUT',
        'access-control-request-headers': headers,
      }),
    });
    const allowed = await lab.ask('/', asking('content-type,x-daytona-preview-token'));
    expect(allowed.statusCode).toBe(204);
    expect(allowed.headers['access-control-allow-origin']).toBe('https://app.example');
    expect(allowed.headers).not.toHaveProperty('access-control-allow-credentials');
    expect((await lab.ask('/', asking('content-type'))).statusCode).toBe(401);
    expect((await lab.ask('/', lab.stranger({ origin: 'https://app.example' }))).statusCode).toBe(401);
  });

  test('tokens and keys reach neither the program nor its logs', async () => {
    const seen = await lab.echo(`/x?DAYTONA_SANDBOX_AUTH_KEY=${lab.token}&a=b`, {
      headers: {
        authorization: `Bearer ${lab.key}`,
        referer: `http://${lab.hostOf(lab.sandboxId)}/?DAYTONA_SANDBOX_AUTH_KEY=${lab.token}`,
        'x-daytona-skip-preview-warning': 'true',
      },
    });
    expect(seen.path).toBe('/x?a=b');
    const all = JSON.stringify(seen);
    expect(all).not.toContain(lab.token);
    expect(all).not.toContain(lab.key);
    expect(all.toLowerCase()).not.toContain('x-daytona');
    expect(headersOf(await lab.echo('/', { headers: { authorization: 'Bearer its-own' } })).get('authorization')).toBe(
      'Bearer its-own',
    );
  });
});

describe('signed links', () => {
  async function sign(seconds?: number): Promise<SignedPortPreviewUrlDto> {
    const query = seconds === undefined ? '' : `?expiresInSeconds=${seconds}`;
    return (await lab.api.get(`/api/sandbox/${lab.sandboxId}/ports/3000/signed-preview-url${query}`)).body;
  }
  const expire = (link: string, port = 3000) =>
    lab.api.post(`/api/sandbox/${lab.sandboxId}/ports/${port}/signed-preview-url/${link}/expire`);

  test('open one port without anything else, and the program does not see them', async () => {
    const link = await sign();
    expect(link).toMatchObject({ sandboxId: lab.sandboxId, port: 3000 });
    expect(link.url).toBe(`http://3000-${link.token}.preview.test:${lab.serverPort()}`);
    const host = new URL(link.url).host;
    const seen = await lab.echo('/', lab.stranger({ origin: `http://${host}`, referer: `http://${host}/a` }, host));
    expect(JSON.stringify(seen)).not.toContain(link.token);
    expect(headersOf(seen).get('host')).toBe(`3000-${lab.sandboxId}.preview.test:${lab.serverPort()}`);
    expect(headersOf(seen).get('origin')).toBe(`http://${headersOf(seen).get('host')}`);
    expect((await lab.ask('/', lab.stranger({}, lab.hostOf(link.token, 3001)))).statusCode).toBe(401);
    const byPath = await lab.echo(
      `/preview/${link.token}/3000/deep`,
      lab.stranger({}, `127.0.0.1:${lab.serverPort()}`),
    );
    expect(byPath.path).toBe('/deep');
    expect(JSON.stringify(byPath)).not.toContain(link.token);
  });

  test('end by time, or when they are expired, which outlives the server; what they had opened is cut', async () => {
    const brief = await sign(1);
    await expect
      .poll(async () => (await lab.ask('/', lab.stranger({}, lab.hostOf(brief.token)))).statusCode, { timeout: 10_000 })
      .toBe(401);
    const [kept, expired] = [await sign(3600), await sign(3600)];
    const events = await lab.ask('/events', lab.stranger({}, lab.hostOf(expired.token)));
    await once(events, 'data');
    const cut = new Promise((resolve) => events.on('error', () => {}).on('close', resolve));
    expect((await expire(expired.token)).status).toBe(200);
    await cut;
    expect((await lab.ask('/', lab.stranger({}, lab.hostOf(expired.token)))).statusCode).toBe(401);
    await lab.restart();
    expect((await lab.ask('/', lab.stranger({}, lab.hostOf(expired.token)))).statusCode).toBe(401);
    expect((await lab.ask('/', lab.stranger({}, lab.hostOf(kept.token)))).statusCode).toBe(200);
    expect((await lab.ask('/')).statusCode).toBe(200);
    // Another port's link is not ended by this one's number.
    expect((await expire(kept.token, 3001)).status).toBe(200);
    expect((await lab.ask('/', lab.stranger({}, lab.hostOf(kept.token)))).statusCode).toBe(200);
  });

  test('are worth no more than they say: no cookie of the sandbox comes of one', async () => {
    const { token: link } = await sign(60);
    const page = { accept: 'text/html' };
    for (const guess of ['x', link]) {
      const answer = await lab.ask(`/?DAYTONA_SANDBOX_AUTH_KEY=${guess}`, lab.stranger(page, lab.hostOf(link)));
      expect([answer.statusCode, answer.headers['set-cookie']]).toEqual([200, undefined]);
      const own = `127.0.0.1:${lab.serverPort()}`;
      const byPath = await lab.ask(`/preview/${link}/3000/?DAYTONA_SANDBOX_AUTH_KEY=${guess}`, lab.stranger(page, own));
      expect([byPath.statusCode, byPath.headers['set-cookie']]).toEqual([200, undefined]);
    }
  });

  test('bad numbers are refused in words, other organizations find nothing', async () => {
    const other = httpClient(() => lab.server.url, lab.otherKey);
    const path = `/api/sandbox/${lab.sandboxId}/ports/3000`;
    for (const bad of ['0', '-1', '86401', '1.5', 'x']) {
      expect((await lab.api.get(`${path}/signed-preview-url?expiresInSeconds=${bad}`)).status, bad).toBe(400);
    }
    for (const port of ['0', '65536', 'x', '1.5']) {
      expect((await lab.api.get(`/api/sandbox/${lab.sandboxId}/ports/${port}/preview-url`)).status, port).toBe(400);
    }
    expect((await other.get(`${path}/preview-url`)).status).toBe(404);
    expect((await other.get(`${path}/signed-preview-url`)).status).toBe(404);
    expect((await other.post(`${path}/signed-preview-url/${(await sign()).token}/expire`)).status).toBe(404);
  });
});
