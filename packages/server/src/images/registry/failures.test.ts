import { once } from 'node:events';
import { createServer } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { always, fetchImage } from '../testing/fetching.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from '../testing/scripted-registry.ts';
import { makeImage } from '../testing/test-image.ts';

/** Does not compress, so that it comes in several pieces. */
const noise = Buffer.from(Array.from({ length: 400_000 }, (_, index) => (index * 7919) % 251));
const image = makeImage([{ files: { noise }, compression: 'none' }]);
const [layer] = image.layers;
const blob = image.blobs.get(layer?.digest ?? '') ?? Buffer.alloc(0);
const isBlob = (url: string | undefined) => url?.endsWith(layer?.digest ?? '-') === true;

let registry: ScriptedRegistry;
let app: string;
beforeEach(async () => {
  registry = await startScriptedRegistry();
  registry.serve('app', image);
  app = `${registry.host}/app`;
});
afterEach(() => registry.close());

describe('a registry that fails', () => {
  it('is asked again after a 500, and the pull goes on', async () => {
    registry.script = (_request, response, count) => {
      if (count > 2) return;
      sendError(response, 500, 'UNKNOWN', 'try again');
      return true;
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
  });

  it('is given up on after four answers of 503, with what it said', async () => {
    registry.script = (_request, response) => {
      sendError(response, 503, 'UNAVAILABLE', 'down for\nmaintenance');
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: true,
      message: expect.stringMatching(/503 UNAVAILABLE: down for maintenance/),
      details: { reason: 'server', status: 503 },
    });
    expect(registry.count('/manifests/latest')).toBe(4);
  });

  it('is waited for when it answers 429 with Retry-After', async () => {
    const asked: number[] = [];
    registry.script = (request, response, count) => {
      if (!request.url?.endsWith('/manifests/latest')) return;
      asked.push(performance.now());
      if (count > 1) return;
      response.setHeader('retry-after', '1');
      sendError(response, 429, 'TOOMANYREQUESTS', 'slow down');
      return true;
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
    const [first = 0, second = 0] = asked;
    expect(second - first).toBeGreaterThanOrEqual(990);
  });

  it('is not waited for when it wants an hour', async () => {
    registry.script = (_request, response) => {
      response.setHeader('retry-after', '3600');
      sendError(response, 429, 'TOOMANYREQUESTS', 'slow down');
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: true,
      details: { reason: 'rate_limited', status: 429, retryAfterMs: 3_600_000 },
    });
    expect(registry.count('/manifests/latest')).toBe(1);
  });

  it('that refuses connections is reported at once', async () => {
    await registry.close();
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      retryable: true,
      message: expect.stringMatching(/ECONNREFUSED/),
      details: { reason: 'unreachable' },
    });
    registry = await startScriptedRegistry();
  });

  it('that accepts and says nothing runs into a time-out', async () => {
    registry.script = () => true;
    await expect(fetchImage(app, { limits: { headersMs: 300 } })).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'timeout' },
    });
  });

  it('that is no HTTP server at all is reported as such', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await expect(fetchImage(`127.0.0.1:${port}/app`)).rejects.toMatchObject({ code: 'image_unavailable' });
    server.close();
  });

  it('is left at once when the pull is cancelled', async () => {
    const cancel = new AbortController();
    registry.script = (request) => {
      if (!isBlob(request.url)) return;
      cancel.abort(new Error('cancelled by test'));
      return true;
    };
    await expect(fetchImage(app, { signal: cancel.signal })).rejects.toThrow('cancelled by test');
  });
});

describe('a download that breaks', () => {
  /** Sends up to `end` and cuts the connection. */
  const cut = (response: import('node:http').ServerResponse, start: number, end: number, headers = {}) => {
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': blob.length - start, ...headers });
    response.write(blob.subarray(start, end), () => response.destroy());
    return true;
  };
  const rangeOf = (range: string | undefined) => Number(/bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);

  it('goes on from where it broke, several times', async () => {
    registry.script = (request, response, count) => {
      if (!isBlob(request.url) || count > 3) return;
      const start = rangeOf(request.headers.range);
      return cut(response, start, start + 100_000, {
        'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}`,
      });
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
    const ranges = registry.requests.filter(({ path }) => isBlob(path)).map(({ range }) => rangeOf(range));
    expect(ranges).toHaveLength(4);
    expect(ranges[3]).toBeGreaterThan(ranges[1] ?? Number.POSITIVE_INFINITY);
  });

  it('gives each byte once when the server ignores ranges and starts anew', async () => {
    registry.script = (request, response, count) => {
      if (!isBlob(request.url)) return;
      if (count === 1) return cut(response, 0, 150_000);
      response.end(blob);
      return true;
    };
    expect((await fetchImage(app)).contents).toEqual([blob]);
  });

  it('is not put together from the wrong range', async () => {
    registry.script = (request, response, count) => {
      if (!isBlob(request.url)) return;
      if (count === 1) return cut(response, 0, 150_000);
      const start = rangeOf(request.headers.range) - 10;
      response.writeHead(206, { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` });
      response.end(blob.subarray(start));
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({ message: expect.stringMatching(/another range/) });
  });

  it('is given up on when it never gets on', async () => {
    registry.script = (request, response) => (isBlob(request.url) ? cut(response, 0, 0) : undefined);
    await expect(fetchImage(app)).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'interrupted' },
    });
    expect(registry.count(layer?.digest ?? '-')).toBe(4);
  });

  it('is given up on when it breaks for ever after a byte', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      const start = rangeOf(request.headers.range);
      return cut(response, start, start + 1, { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` });
    };
    await expect(fetchImage(app, { limits: { resumes: 5 } })).rejects.toMatchObject({ code: 'image_unavailable' });
    expect(registry.count(layer?.digest ?? '-')).toBeLessThan(15);
  });

  it('that stalls runs into the idle time-out', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'content-length': blob.length });
      response.write(blob.subarray(0, 1000));
      return true;
    };
    await expect(fetchImage(app, { limits: { idleMs: 200, attempts: 1, resumes: 0 } })).rejects.toMatchObject({
      code: 'image_unavailable',
      details: { reason: 'timeout' },
    });
  });

  it('that drips a byte now and then counts as stalled', async () => {
    const drips: NodeJS.Timeout[] = [];
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'content-length': blob.length });
      drips.push(setInterval(() => response.write('x'), 20));
      return true;
    };
    const limits = { slowMs: 300, slowBytes: 1000, attempts: 1, resumes: 0 };
    await expect(fetchImage(app, { limits })).rejects.toMatchObject({
      message: expect.stringMatching(/only \d+ bytes came/),
      details: { reason: 'timeout' },
    });
    for (const drip of drips) clearInterval(drip);
  });

  it('that ends early without a length is not taken for whole', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'transfer-encoding': 'chunked' });
      response.end(blob.subarray(0, 1000));
      return true;
    };
    await expect(fetchImage(app, { limits: { resumes: 2 } })).rejects.toMatchObject({
      message: expect.stringMatching(/bytes early/),
      details: { reason: 'interrupted' },
    });
  });

  it('that brings more than the manifest says, or says so, is refused', async () => {
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.end(Buffer.concat([blob, Buffer.of(0)]));
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({ code: 'image_invalid' });
    registry.script = (request, response) => {
      if (!isBlob(request.url)) return;
      response.writeHead(200, { 'transfer-encoding': 'chunked' });
      response.end(Buffer.concat([blob, blob]));
      return true;
    };
    await expect(fetchImage(app)).rejects.toMatchObject({ code: 'image_invalid' });
  });
});

describe('secrets', () => {
  it('of a careless registry that repeats them do not come out in errors', async () => {
    registry.script = (request, response) => {
      if (request.headers.authorization === undefined) {
        response.setHeader('www-authenticate', 'Basic realm="x"');
        sendError(response, 401, 'UNAUTHORIZED', 'who are you');
      } else {
        const sent = request.headers.authorization;
        sendError(response, 403, 'DENIED', `${sent} ${Buffer.from(sent.slice(6), 'base64').toString()} may not`);
      }
      return true;
    };
    const credentials = always({ username: 'someone', password: 'pa55-w0rd' });
    const failure = await fetchImage(app, { credentials }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'image_unavailable', details: { status: 403 } });
    // As logs show it, with the stacks of all causes.
    const shown = `${JSON.stringify(failure)} ${inspect(failure, { depth: 10 })}`;
    expect(shown).toMatch(/\*\*\*/);
    expect(shown).not.toMatch(/pa55-w0rd/);
    expect(shown).not.toContain(Buffer.from('someone:pa55-w0rd').toString('base64'));
  });
});
