import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, chunked, send, signedHead } from './testing/raw-client.ts';
import { type Access, openUploadLab, type UploadLab } from './testing/upload-lab.ts';

/** Requests written by hand, as clients send them for which there is no library here, or as nobody should. */
let lab: UploadLab;
let access: Access;
let key: string;

beforeAll(async () => {
  lab = await openUploadLab();
});
afterAll(() => lab?.api.stop());

beforeEach(async () => {
  access = await lab.accessOf(lab.organizationId);
  key = `${lab.organizationId}/${randomBytes(16).toString('hex')}/context.tar`;
});

const Bucket = 'darkroom-contexts';
const rawPath = () => `/${Bucket}/${key}`;
const get = (path = rawPath()) => ask(lab.url, access, { method: 'GET', path });

describe('as minio-go asks', () => {
  it('first where the bucket is, then what is there, then for a directory', async () => {
    const location = await get(`/${Bucket}/?location=`);
    expect(location).toMatchObject({ status: 200, text: expect.stringContaining('<LocationConstraint') });
    const query = `delimiter=%2F&encoding-type=url&fetch-owner=true&list-type=2&prefix=${lab.organizationId}`;
    expect(await get(`/${Bucket}/?${query}`)).toMatchObject({ status: 200 });
    const directory = { method: 'PUT', path: rawPath().replace('context.tar', '') };
    expect(await ask(lab.url, access, directory)).toMatchObject({ status: 200 });
    expect(await ask(lab.url, access, { ...directory, body: Buffer.from('x') })).toMatchObject({ status: 400 });
  });

  it('and sends signed chunks over http, which are checked', async () => {
    const pieces = [randomBytes(65_536), randomBytes(1000)];
    const content = Buffer.concat(pieces);
    const wanted = {
      method: 'PUT',
      path: rawPath(),
      payload: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
      headers: {
        'content-encoding': 'aws-chunked',
        'content-type': 'application/octet-stream',
        'x-amz-decoded-content-length': String(content.length),
      },
    };
    const head = signedHead(lab.url, access, wanted);
    const body = chunked(pieces, head);
    const spoilt = Buffer.from(body);
    spoilt.writeUInt8(spoilt.readUInt8(200) ^ 1, 200);
    const refused = await send(lab.url, { ...wanted, body: spoilt }, head.headers);
    expect(refused).toMatchObject({ status: 403, text: expect.stringContaining('SignatureDoesNotMatch') });
    expect((await get()).status).toBe(404);

    expect(await send(lab.url, { ...wanted, body }, head.headers)).toMatchObject({ status: 200 });
    const answer = await get(rawPath());
    expect(Buffer.compare(Buffer.from(answer.text, 'latin1'), content)).toBe(0);
  });

  it('and raw bytes without a hash over https', async () => {
    const body = Buffer.from('content');
    const answer = await ask(lab.url, access, { method: 'PUT', path: rawPath(), payload: 'UNSIGNED-PAYLOAD', body });
    expect(answer).toMatchObject({ status: 200, headers: { etag: expect.stringMatching(/^"\w+"$/) } });
    expect((await get()).text).toBe('content');
  });
});

describe('a client that waits to be asked for its body', () => {
  const wanted = () => ({
    method: 'PUT',
    path: rawPath(),
    body: Buffer.from('content'),
    headers: { expect: '100-continue' },
  });

  it('is asked once its signature is right', async () => {
    expect(await ask(lab.url, access, wanted())).toMatchObject({ status: 200, wasInvited: true });
    expect((await get()).text).toBe('content');
  });

  it('is refused unasked, and its connection ends, where it is not', async () => {
    const stranger = { ...access, secret: 'another' };
    const answer = await ask(lab.url, stranger, wanted());
    expect(answer).toMatchObject({ status: 403, wasInvited: false, headers: { connection: 'close' } });
    const elsewhere = { ...wanted(), path: `/${Bucket}/${crypto.randomUUID()}/${'a'.repeat(32)}/context.tar` };
    expect(await ask(lab.url, access, elsewhere)).toMatchObject({ status: 403, wasInvited: false });
  });

  it('is treated the same by every other surface', async () => {
    const body = Buffer.from('{}');
    const headers = { expect: '100-continue', 'content-type': 'application/json' };
    const wantedOfApi = { method: 'POST', path: '/api/snapshots', body };
    expect(await send(lab.url, wantedOfApi, headers)).toMatchObject({ status: 401, wasInvited: false });
    const apiKey = await lab.api.addKey(lab.organizationId);
    const known = await send(lab.url, wantedOfApi, { ...headers, authorization: `Bearer ${apiKey}` });
    expect(known).toMatchObject({ status: 400, wasInvited: true });
  });
});

describe('refusals', () => {
  const codeOf = async (wanted: Parameters<typeof ask>[2], given = access) =>
    /<Code>(\w+)<\/Code>/.exec((await ask(lab.url, given, wanted)).text)?.[1];

  it('are in the shape of S3 with the id of the request', async () => {
    const { status, headers, text } = await ask(lab.url, access, { method: 'GET', path: rawPath() });
    expect(status).toBe(404);
    expect(headers['content-type']).toContain('application/xml');
    expect(text).toMatch(
      /^<\?xml .*\?>\n<Error><Code>NoSuchKey<\/Code><Message>.+<\/Message><Resource>.+<\/Resource><RequestId>(.+)<\/RequestId><\/Error>$/,
    );
    expect(text).toContain(`<RequestId>${headers['x-amz-request-id']}<`);
  });

  it('say what is wrong with the credentials', async () => {
    const path = rawPath();
    expect(await codeOf({ method: 'GET', path }, { ...access, secret: 'x' })).toBe('SignatureDoesNotMatch');
    expect(await codeOf({ method: 'GET', path }, { ...access, sessionToken: 'x' })).toBe('InvalidToken');
    expect(await codeOf({ method: 'GET', path }, { ...access, accessKey: 'x' })).toBe('InvalidToken');
    const unsigned = await send(lab.url, { method: 'GET', path }, {});
    expect(unsigned).toMatchObject({ status: 403, text: expect.stringContaining('AccessDenied') });
  });

  it('name what is not there to be used', async () => {
    for (const [method, query] of [
      ['GET', '?acl='],
      ['PUT', '?tagging='],
      ['GET', '?versionId=1'],
      ['POST', ''],
    ] as const) {
      expect(await codeOf({ method, path: rawPath() + query }), query).toBe('NotImplemented');
    }
    const copying = { method: 'PUT', path: rawPath(), headers: { 'x-amz-copy-source': '/a/b' } };
    expect(await codeOf(copying)).toBe('NotImplemented');
    expect(await codeOf({ method: 'DELETE', path: rawPath() })).toBe('AccessDenied');
    expect(await codeOf({ method: 'GET', path: `/${Bucket}?list-type=1&prefix=${lab.organizationId}` })).toBe(
      'NotImplemented',
    );
    expect(await codeOf({ method: 'PUT', path: `/${Bucket}` })).toBe('MethodNotAllowed');
  });
});

it('a client that goes away in the middle leaves nothing', async () => {
  const body = Buffer.alloc(1024 * 1024);
  const wanted = { method: 'PUT', path: rawPath(), body };
  const { headers } = signedHead(lab.url, access, wanted);
  const socket = connect(Number(new URL(lab.url).port), '127.0.0.1');
  const head = Object.entries({ ...headers, 'content-length': String(body.length) }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`PUT ${wanted.path} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
  socket.write(body.subarray(0, 100_000));
  await vi.waitFor(async () => expect(await lab.uploads()).toHaveLength(1), { timeout: 10_000 });
  socket.destroy();
  await vi.waitFor(async () => expect(await lab.uploads()).toEqual([]), { timeout: 10_000 });
  expect((await get()).status).toBe(404);
});
