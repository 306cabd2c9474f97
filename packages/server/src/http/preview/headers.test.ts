import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COOKIE, KEY_PARAMETER, shownCredentials, withoutKey, withoutOwnCookie } from './credentials.ts';
import { pairs, requestHeaders } from './request-headers.ts';
import { responseHeaders } from './response-headers.ts';

const SECRET = 'abcdefghijklmnopqrstuvwxyz234567';
const API_KEY = `dtn_${'a1'.repeat(32)}`;
const ID = '0190b2c4-7a3e-4f11-9a51-3f0f7c1de001';

/** As Node's parser makes it. */
function message(raw: string[], method = 'GET') {
  const incoming = new IncomingMessage(new Socket());
  const headers: Record<string, string> = {};
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase();
    headers[lower] = lower in headers ? `${headers[lower]}, ${value}` : value;
  }
  return Object.assign(incoming, { rawHeaders: raw, headers, method });
}

const forwarding = { host: 'seen.localhost', protocol: 'http', prefix: '', hide: undefined, upgrade: false } as const;
const sent = (raw: string[], changes = {}, method = 'GET') =>
  requestHeaders(
    { ...message(raw, method), rawHeaders: raw, headers: message(raw).headers, method, remoteAddress: '192.0.2.1' },
    { ...forwarding, ...changes },
  );
const valuesOf = (raw: string[], name: string) =>
  [...pairs(raw)].filter(([found]) => found.toLowerCase() === name).map(([, value]) => value);

describe('the key in a URL', () => {
  const parameter = fc
    .tuple(fc.stringMatching(/^[a-zA-Z0-9%_.-]{0,8}$/), fc.stringMatching(/^[a-zA-Z0-9%_.=-]{0,8}$/))
    .map(([name, value]) => `${name}=${value}`);
  const keyed = fc
    .constantFrom(KEY_PARAMETER, 'DAYTONA%5FSANDBOX_AUTH_KEY', '%44AYTONA_SANDBOX_AUTH_KEY')
    .map((name) => `${name}=${SECRET}`);

  test('is found and taken out wherever it stands, and everything else stays byte for byte', () => {
    fc.assert(
      fc.property(fc.array(parameter), fc.array(parameter), keyed, (before, behind, key) => {
        const target = `/a/b?${[...before, key, ...behind].join('&')}`;
        expect(shownCredentials({}, target).query).toEqual([SECRET]);
        const kept = [...before, ...behind].join('&');
        expect(withoutKey(target)).toBe(kept === '' ? '/a/b' : `/a/b?${kept}`);
        expect(withoutKey(`/a/b?${kept}`)).toBe(`/a/b?${kept}`);
      }),
    );
  });
});

test('our cookie is taken out from among the program’s', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z]{1,5}=[a-z0-9]{0,5}$/)), fc.nat(5), (theirs, position) => {
      const all = [...theirs];
      all.splice(position, 0, `${COOKIE}=${SECRET}`);
      expect(withoutOwnCookie(all.join('; ')) ?? '').toBe(theirs.join('; '));
      expect(shownCredentials({ cookie: all.join(';') }, '/').cookies).toEqual([SECRET]);
    }),
  );
});

describe('the head of a request', () => {
  test('holds no secret of ours, whatever else it holds', () => {
    const ours = fc.constantFrom(
      ['X-Daytona-Preview-Token', SECRET],
      ['x-daytona-preview-token', SECRET],
      ['Cookie', `${COOKIE}=${SECRET}`],
      ['Cookie', `a=1;${COOKIE}=${SECRET};b=2`],
      ['Authorization', `Bearer ${API_KEY}`],
      ['authorization', `bearer  ${API_KEY}`],
      ['Referer', `http://x.localhost/?${KEY_PARAMETER}=${SECRET}&a=b`],
    );
    const theirs = fc.tuple(fc.stringMatching(/^X-[A-Za-z]{1,8}$/), fc.stringMatching(/^[ -~]{0,20}$/));
    fc.assert(
      fc.property(fc.array(fc.oneof(ours, theirs), { maxLength: 12 }), (headers) => {
        const raw = sent(headers.flat());
        expect(raw.join('\n')).not.toContain(SECRET);
        expect(raw.join('\n')).not.toContain(API_KEY);
        for (const [name, value] of headers.filter(([name]) => name?.startsWith('X-') && !name.includes('Daytona'))) {
          expect(valuesOf(raw, String(name).toLowerCase())).toContain(value);
        }
      }),
    );
  });

  test('is framed anew: one host, one length or none, nothing that is for one connection', () => {
    const raw = sent(
      [
        'Host',
        'a',
        'Connection',
        'keep-alive, X-Once, Content-Length',
        'X-Once',
        '1',
        'Keep-Alive',
        '5',
        'Content-Length',
        '3',
      ],
      {},
      'POST',
    );
    expect(valuesOf(raw, 'host')).toEqual(['seen.localhost']);
    expect(valuesOf(raw, 'content-length')).toEqual(['3']);
    expect(valuesOf(raw, 'connection')).toEqual(['close']);
    for (const gone of ['x-once', 'keep-alive', 'transfer-encoding']) expect(valuesOf(raw, gone)).toEqual([]);
    expect(valuesOf(sent(['Transfer-Encoding', 'chunked'], {}, 'DELETE'), 'transfer-encoding')).toEqual(['chunked']);
    expect(valuesOf(sent([], {}, 'POST'), 'content-length')).toEqual(['0']);
    expect(valuesOf(sent([], {}, 'GET'), 'content-length')).toEqual([]);
  });

  test('says who and where, and believes nobody who says it of himself', () => {
    const raw = sent(
      ['X-Forwarded-For', '10.1.1.1', 'X-Forwarded-Host', 'evil', 'X-Forwarded-Proto', 'https', 'Forwarded', 'x'],
      {
        prefix: '/preview/x/1',
      },
    );
    expect(valuesOf(raw, 'x-forwarded-for')).toEqual(['10.1.1.1, 192.0.2.1']);
    expect(valuesOf(raw, 'x-forwarded-host')).toEqual(['seen.localhost']);
    expect(valuesOf(raw, 'x-forwarded-proto')).toEqual(['http']);
    expect(valuesOf(raw, 'x-forwarded-prefix')).toEqual(['/preview/x/1']);
    expect(valuesOf(raw, 'forwarded')).toEqual([]);
  });

  test('passes on the wish for another protocol only where it can be had', () => {
    const wish = ['Connection', 'Upgrade', 'Upgrade', 'websocket'];
    expect(valuesOf(sent(wish, { upgrade: true }), 'upgrade')).toEqual(['websocket']);
    expect(valuesOf(sent(wish), 'upgrade')).toEqual([]);
  });
});

describe('the head of an answer', () => {
  const relaying = { port: 80, prefix: '', hide: undefined, setCookie: undefined };
  const relayed = (raw: string[], changes = {}) => responseHeaders(message(raw), { ...relaying, ...changes });

  test('keeps cookies to the program, and below its path', () => {
    const cookie = (value: string, prefix = '') =>
      valuesOf(relayed(['Set-Cookie', value], { prefix }), 'set-cookie')[0];
    expect(cookie('a=1; Domain=.localhost; Path=/x; HttpOnly')).toBe('a=1; Path=/x; HttpOnly');
    expect(cookie('a=1; path=/x; DOMAIN=b; Secure', '/p')).toBe('a=1; Secure; Path=/p/x');
    expect(cookie('a=1', '/p')).toBe('a=1; Path=/p/');
    expect(cookie('a=1; Path=/a; Path=relative', '/p')).toBe('a=1; Path=/p/');
  });

  test('leads to where the client can go', () => {
    const location = (value: string, changes = {}) => valuesOf(relayed(['Location', value], changes), 'location')[0];
    expect(location('/a')).toBe('/a');
    expect(location('/a', { prefix: '/p' })).toBe('/p/a');
    expect(location('/p/a', { prefix: '/p' })).toBe('/p/a');
    expect(location('//other/a', { prefix: '/p' })).toBe('//other/a');
    expect(location('relative', { prefix: '/p' })).toBe('relative');
    const hide = { token: SECRET, sandboxId: ID };
    expect(location(`http://80-${ID}.localhost/x`, { hide })).toBe(`http://80-${SECRET}.localhost/x`);
    expect(location(`/preview/${ID}/80/x`, { hide, prefix: `/preview/${SECRET}/80` })).toBe(`/preview/${SECRET}/80/x`);
  });

  test('on the server’s own origin speaks for itself alone', () => {
    const raw = [
      'Clear-Site-Data',
      '"*"',
      'Service-Worker-Allowed',
      '/',
      'Content-Security-Policy',
      "default-src 'self'",
    ];
    const headers = relayed(raw, { prefix: '/p' });
    expect(valuesOf(headers, 'clear-site-data')).toEqual([]);
    expect(valuesOf(headers, 'service-worker-allowed')).toEqual([]);
    expect(valuesOf(headers, 'content-security-policy')).toEqual([
      "default-src 'self'",
      expect.stringMatching(/^sandbox /),
    ]);
    expect(relayed(raw)).toEqual(raw);
  });
});
