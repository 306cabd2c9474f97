import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createUrlFetcher, type UrlFetcher } from './fetch-url.ts';
import { remoteSources } from './remote-source.ts';
import type { TransferInstruction } from './transfer-types.ts';

let directory: string;
let server: Server;
let base: string;
let fetcher: UrlFetcher;
let listener: RequestListener;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fetch-'));
  server = createServer((request, response) => listener(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address: AddressInfo | string | null = server.address();
  base = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  fetcher = createUrlFetcher({ idBase: process.getuid?.() ?? 0, allowInternal: true, caFiles: [] });
});
afterEach(async () => {
  await fetcher.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

function add(...sources: string[]): TransferInstruction {
  return {
    kind: 'add',
    sources,
    target: '/x',
    heredocs: [],
    chown: undefined,
    chmod: undefined,
    exclude: [],
    parents: false,
    link: false,
    unpack: undefined,
  };
}

async function fetchOne(
  url: string,
  options: { checksum?: string; maxBytes?: number; signal?: AbortSignal; by?: UrlFetcher } = {},
) {
  const [source] = remoteSources(add(url), options.checksum);
  if (source?.kind !== 'url') throw new Error(`${url} is not fetched`);
  const { checksum, maxBytes = 1000, signal = new AbortController().signal, by = fetcher } = options;
  return await by.fetch(source, { directory, checksum, maxBytes, signal });
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('a URL of ADD', () => {
  test('becomes a file with the time that its server says', async () => {
    listener = (_, response) => response.setHeader('last-modified', 'Tue, 15 Nov 1994 12:45:26 GMT').end('content');
    const file = await fetchOne(`${base}/dir/na%20me.txt?secret=1`);
    expect(file).toEqual({ directory, name: 'na me.txt', sha256: sha256('content') });
    const stats = statSync(join(directory, 'na me.txt'));
    expect(stats.mode & 0o777).toBe(0o600);
    expect(stats.mtimeMs).toBe(Date.UTC(1994, 10, 15, 12, 45, 26));
    expect(readFileSync(join(directory, 'na me.txt'), 'utf8')).toBe('content');
  });

  test('is followed to where it redirects; its password is not', async () => {
    const seen: [string | undefined, string | undefined][] = [];
    listener = (request, response) => {
      seen.push([request.url, request.headers.authorization]);
      if (request.url === '/a') response.writeHead(302, { location: '/b' }).end();
      else if (request.url === '/b')
        response.writeHead(307, { location: `${base.replace('127.0.0.1', 'localhost')}/c` }).end();
      else response.end('there');
    };
    await fetchOne(`${base.replace('//', '//user:pass@')}/a`);
    const basic = `Basic ${Buffer.from('user:pass').toString('base64')}`;
    expect(seen).toEqual([
      ['/a', basic],
      ['/b', basic],
      ['/c', undefined],
    ]);
    expect(readdirSync(directory)).toEqual(['a']);
  });

  test('must have the checksum that is asked for', async () => {
    listener = (_, response) => response.end('content');
    await fetchOne(`${base}/x`, { checksum: `sha256:${sha256('content')}` });
    rmSync(join(directory, 'x'));
    await expect(fetchOne(`${base}/x`, { checksum: `sha256:${sha256('other')}` })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(fetchOne(`${base}/x`, { checksum: 'md5:1' })).rejects.toThrow('is no checksum');
    expect(readdirSync(directory)).toEqual([]);
  });

  test('fails clearly, and leaves nothing', async () => {
    listener = (request, response) => {
      if (request.url === '/missing?token=1') response.writeHead(404).end();
      else if (request.url === '/busy') response.writeHead(503).end();
      else if (request.url === '/circle') response.writeHead(301, { location: '/circle' }).end();
      else if (request.url === '/file') response.writeHead(301, { location: 'file:///etc/passwd' }).end();
      else if (request.url === '/broken') {
        response.writeHead(200, { 'content-length': '100' });
        response.write('half', () => response.destroy());
      } else response.end('x'.repeat(2000));
    };
    await expect(fetchOne(`${base}/missing?token=1`)).rejects.toMatchObject({
      code: 'invalid_request',
      message: `ADD ${base}/missing?…: its server answers 404`,
    });
    await expect(fetchOne(`${base}/busy`)).rejects.toMatchObject({ code: 'unavailable', retryable: true });
    await expect(fetchOne(`${base}/circle`)).rejects.toThrow('redirects more than');
    await expect(fetchOne(`${base}/file`)).rejects.toThrow('redirects to file:');
    await expect(fetchOne(`${base}/broken`)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(fetchOne(`${base}/large`)).rejects.toMatchObject({ code: 'quota_exceeded' });
    expect(readdirSync(directory)).toEqual([]);
  });

  test('of a server that says nothing ends with the build', async () => {
    const controller = new AbortController();
    listener = () => controller.abort(new Error('cancelled'));
    await expect(fetchOne(`${base}/x`, { signal: controller.signal })).rejects.toThrow('cancelled');
  });

  test('may not lead into the server’s own network', async () => {
    const careful = createUrlFetcher({ idBase: 0, allowInternal: false, caFiles: [] });
    try {
      for (const url of [
        `${base}/x`,
        `${base.replace('127.0.0.1', 'localhost')}/x`,
        'http://169.254.169.254/x',
        'http://[::ffff:10.0.0.1]/x',
      ]) {
        await expect(fetchOne(url, { by: careful })).rejects.toMatchObject({
          code: 'invalid_request',
          message: expect.stringContaining('do not fetch'),
        });
      }
    } finally {
      await careful.close();
    }
  });
});

describe('sources of ADD', () => {
  test('are URLs, or files', () => {
    expect(remoteSources(add('a', 'https://h/p/', 'http://h', './b', 'github.com/a/b'), undefined)).toEqual([
      { kind: 'url', index: 1, url: new URL('https://h/p/'), name: 'p' },
      { kind: 'url', index: 2, url: new URL('http://h'), name: '__unnamed__' },
    ]);
  });

  test.each(['git@h:a/b', 'git://user:secret@h/r', 'ssh://git:secret@h/r'])('%s is refused by name', (text) => {
    expect(() => remoteSources(add(text), undefined)).toThrow('not supported');
    expect(() => remoteSources(add(text), undefined)).not.toThrow('secret');
  });

  test('one whose last part cannot be the name of a file is refused', () => {
    expect(() => remoteSources(add(`https://h/${'a'.repeat(256)}`), undefined)).toThrow('too long');
  });

  test('a COPY takes none', () => {
    for (const text of ['https://h/a', 'https://h/r.git', 'git@h:a/b'])
      expect(() => remoteSources({ ...add(text), kind: 'copy' }, undefined)).toThrow('COPY takes no URL');
  });

  test('a checksum goes with one URL', () => {
    expect(() => remoteSources(add('https://h/a', 'https://h/b'), 'sha256:1')).toThrow(
      '--checksum goes with one source',
    );
    expect(() => remoteSources(add('a'), 'sha256:1')).toThrow('--checksum goes with one source');
  });
});
