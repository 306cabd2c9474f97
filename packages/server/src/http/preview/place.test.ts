import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type PreviewPlace, placeOf } from './place.ts';
import { previewUrl } from './preview-url.ts';

const ID = '0190b2c4-7a3e-4f11-9a51-3f0f7c1de001';
const TOKEN = 'abcdefghijklmnopqrstuvwxyz234567';
const RULES = { domain: 'preview.example', ownHost: 'api.preview.example' };
const at = (host: string | undefined, url = '/') => placeOf({ url, host }, RULES);

describe('a host name', () => {
  test('names a port and a sandbox or a link, below the domain and below localhost', () => {
    const place = { subject: { kind: 'sandbox', sandboxId: ID }, port: 3000, name: ID, prefix: '', target: '/a?b' };
    for (const host of [
      `3000-${ID}.preview.example`,
      `3000-${ID}.preview.example:8443`,
      `3000-${ID.toUpperCase()}.PREVIEW.example.`,
      `3000-${ID}.localhost:3986`,
      `3000-${ID}.preview.localhost:3986`,
    ]) {
      expect(at(host, '/a?b'), host).toEqual(place);
    }
    expect(at(`80-${TOKEN}.localhost`)).toMatchObject({ subject: { kind: 'link', token: TOKEN }, port: 80 });
  });

  test('of the server is no preview, nor is any other', () => {
    for (const host of [
      undefined,
      '',
      'api.preview.example',
      'preview.example',
      'localhost:3986',
      'my-app.localhost',
      `3000-${ID}.example`,
      `3000-${ID}.localhost.example`,
      '[::1]:3986',
      '127.0.0.1',
    ]) {
      expect(at(host, '/api/sandbox'), String(host)).toBe('elsewhere');
    }
  });

  test('that looks like a preview and names none is never anything else', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.string({ unit: fc.constantFrom(...'0123456789abcdef-.xz') }),
        fc.webPath(),
        (n, rest, url) => {
          const found = at(`${n}-${rest}.localhost`, url || '/');
          expect(found === 'nowhere' || (typeof found === 'object' && found.prefix === '')).toBe(true);
        },
      ),
    );
    for (const label of ['0-', '65536-', '03000-', '3000--', 'a.3000-', '3000-x']) {
      if (/^\d/.test(label)) expect(at(`${label}${ID}.localhost`), label).toBe('nowhere');
    }
    expect(at(`3000-${ID}.localhost`, 'http://localhost/api')).toBe('nowhere');
    expect(at(`3000-${ID}.localhost`, '*')).toMatchObject({ target: '*' });
  });
});

describe('a path', () => {
  test('names the same, and what follows is the program’s', () => {
    const prefix = `/preview/${ID}/3000`;
    const targets = { '': '/', '/': '/', '?a=1': '/?a=1', '/a//b?c': '/a//b?c', '/../x': '/../x' };
    for (const [rest, target] of Object.entries(targets)) {
      expect(at('localhost', prefix + rest), rest).toMatchObject({ prefix, target, port: 3000, name: ID });
    }
    expect(at('localhost', `/preview/${TOKEN}/1/`)).toMatchObject({ subject: { kind: 'link', token: TOKEN } });
  });

  test('that names none is no route of the API either', () => {
    for (const rest of ['', 'x/3000', `${ID}`, `${ID}/x`, `${ID}/0`, `${ID}/65536`, `${ID}/3000x`, `../api/${ID}`]) {
      expect(at('localhost', `/preview/${rest}`), rest).toBe('nowhere');
    }
    expect(at('localhost', '/previews')).toBe('elsewhere');
  });
});

describe('the URL of a port', () => {
  const settings = { domain: undefined, urls: 'auto' } as const;

  test('is below localhost for clients on this machine, below a path for others, below the domain where there is one', () => {
    const url = (base: string, changes = {}) => previewUrl(base, { ...settings, ...changes }, ID, 80);
    for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', 'box.localhost']) {
      expect(url(`http://${host}:3986`)).toBe(`http://80-${ID}.localhost:3986`);
    }
    expect(url('https://box.example')).toBe(`https://box.example/preview/${ID}/80`);
    expect(url('http://10.0.0.1:3986')).toBe(`http://10.0.0.1:3986/preview/${ID}/80`);
    expect(url('https://box.example', { domain: 'p.example' })).toBe(`https://80-${ID}.p.example`);
    expect(url('http://box:3986', { domain: 'p.example' })).toBe(`http://80-${ID}.p.example:3986`);
    expect(url('http://box:3986', { domain: 'p.example:443' })).toBe(`http://80-${ID}.p.example:443`);
    expect(url('http://localhost:1', { urls: 'path' })).toBe(`http://localhost:1/preview/${ID}/80`);
  });

  test('leads back to the port, whatever it looks like', () => {
    const bases = fc.constantFrom(
      'http://localhost:3986',
      'http://127.0.0.1',
      'https://api.example',
      'http://10.0.0.1:80',
    );
    const port = fc.integer({ min: 1, max: 65_535 });
    const path = fc.webPath();
    const name = fc.oneof(fc.uuid(), fc.constant(TOKEN));
    const domain = fc.constantFrom(undefined, 'preview.example', 'preview.example:99');
    const urls = fc.constantFrom('auto', 'host', 'path');
    fc.assert(
      fc.property(bases, port, path, name, domain, urls, (base, number, rest, who, below, form) => {
        const url = new URL(previewUrl(base, { domain: below, urls: form }, who, number) + rest);
        const found = at(url.host, url.pathname + url.search);
        expect(found).toMatchObject({ port: number, name: who } satisfies Partial<PreviewPlace>);
      }),
    );
  });
});
