import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  paginateListParts,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startTestApi, type TestApi } from '../../test-support/test-api.ts';
import { ask, chunked, send, signedHead } from './testing/raw-client.ts';

let api: TestApi;
let url: string;
let organizationId: string;
let access: Access;
let s3: S3Client;
let key: string;

interface Access {
  accessKey: string;
  secret: string;
  sessionToken: string;
  storageUrl: string;
  organizationId: string;
  bucket: string;
  region: string;
}

beforeAll(async () => {
  api = await startTestApi();
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  url = api.app.listeningOrigin;
  organizationId = await api.addOrganization();
});
afterAll(() => api.stop());

beforeEach(async () => {
  access = await accessOf(organizationId);
  s3 = clientOf(access);
  key = `${organizationId}/${randomBytes(16).toString('hex')}/context.tar`;
});

async function accessOf(organization: string): Promise<Access> {
  const apiKey = await api.addKey(organization, { permissions: ['write:snapshots'] });
  const answer = await fetch(`${url}/api/object-storage/push-access`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  return JSON.parse(await answer.text());
}

const clientOf = (given: Access) =>
  new S3Client({
    endpoint: given.storageUrl,
    region: given.region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: given.accessKey, secretAccessKey: given.secret, sessionToken: given.sessionToken },
  });

const Bucket = 'darkroom-contexts';
const put = (Body: string | Buffer, Key = key) => s3.send(new PutObjectCommand({ Bucket, Key, Body }));
const textOf = async (Range?: string) => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: key, ...(Range === undefined ? {} : { Range }) }));
  return Body?.transformToString();
};
const failureOf = (work: Promise<unknown>) => work.then(() => undefined).catch((error: unknown) => error);
const uploads = () => readdir(join(api.stateDir, 'contexts', 'uploads'));
const rawPath = () => `/${Bucket}/${key}`;

describe('push access', () => {
  it('is for the organization of the key, at the address that the client used', () => {
    expect(access).toEqual({
      accessKey: expect.stringMatching(/^\w+$/),
      secret: expect.any(String),
      sessionToken: expect.any(String),
      storageUrl: url,
      organizationId,
      bucket: Bucket,
      region: 'us-east-1',
    });
  });

  it('needs a permission to make snapshots or sandboxes', async () => {
    const weak = await api.addKey(organizationId, { permissions: ['delete:snapshots'] });
    expect((await api.ask('GET', '/api/object-storage/push-access', { key: weak })).status).toBe(403);
    expect((await api.ask('GET', '/api/object-storage/push-access', { key: null })).status).toBe(401);
  });
});

describe('objects', () => {
  it('are stored whole, found, and read in parts', async () => {
    const stored = await put('content');
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: key }));
    expect(head).toMatchObject({ ContentLength: 7, ETag: stored.ETag, LastModified: expect.any(Date) });
    expect(await textOf()).toBe('content');
    expect(await textOf('bytes=1-3')).toBe('ont');
    expect(await textOf('bytes=5-')).toBe('nt');
    expect(await textOf('bytes=-3')).toBe('ent');
    expect(await failureOf(textOf('bytes=7-'))).toMatchObject({ name: 'InvalidRange' });
    const [, hash = ''] = key.split('/');
    expect(await api.contexts.find({ organizationId, hash })).toMatchObject({ size: 7 });
  });

  it('may be empty, and larger than any JSON', async () => {
    await put('');
    expect(await textOf()).toBe('');
    const large = randomBytes(11 * 1024 * 1024);
    await s3.send(new PutObjectCommand({ Bucket, Key: key, Body: large, ContentType: 'application/json' }));
    const { ContentLength } = await s3.send(new HeadObjectCommand({ Bucket, Key: key }));
    expect(ContentLength).toBe(large.length);
  });

  it('that are not there are not found', async () => {
    expect(await failureOf(s3.send(new HeadObjectCommand({ Bucket, Key: key })))).toMatchObject({ name: 'NotFound' });
    expect(await failureOf(textOf())).toMatchObject({ name: 'NoSuchKey' });
    const elsewhere = new HeadObjectCommand({ Bucket, Key: `${organizationId}/other` });
    expect(await failureOf(s3.send(elsewhere))).toMatchObject({ name: 'NotFound' });
  });

  it('have no other names than those of contexts', async () => {
    const names = [
      'x',
      `${'a'.repeat(33)}/context.tar`,
      `${'a'.repeat(32)}/other.tar`,
      `${'A'.repeat(32)}/context.tar`,
      '../x',
    ];
    for (const name of names) {
      const failure = await failureOf(put('x', `${organizationId}/${name}`));
      expect(failure, name).toMatchObject({ name: 'AccessDenied' });
    }
  });

  it('of another organization are denied, whatever is asked for', async () => {
    const theirs = clientOf(await accessOf(await api.addOrganization()));
    await put('content');
    for (const attempt of [
      failureOf(theirs.send(new GetObjectCommand({ Bucket, Key: key }))),
      failureOf(theirs.send(new PutObjectCommand({ Bucket, Key: key, Body: 'x' }))),
      failureOf(theirs.send(new CreateMultipartUploadCommand({ Bucket, Key: key }))),
      failureOf(theirs.send(new ListObjectsV2Command({ Bucket, Prefix: `${organizationId}/` }))),
      failureOf(theirs.send(new ListObjectsV2Command({ Bucket }))),
    ]) {
      expect(await attempt).toMatchObject({ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } });
    }
    const head = new HeadObjectCommand({ Bucket, Key: key });
    expect(await failureOf(theirs.send(head))).toMatchObject({ $metadata: { httpStatusCode: 403 } });
  });

  it('whose checksum is wrong are not stored', async () => {
    const wrong = new PutObjectCommand({ Bucket, Key: key, Body: 'content', ChecksumCRC32: 'AAAAAA==' });
    expect(await failureOf(s3.send(wrong))).toMatchObject({ name: 'BadDigest' });
    expect(await failureOf(textOf())).toMatchObject({ name: 'NoSuchKey' });
    expect(await uploads()).toEqual([]);
  });
});

describe('uploads in parts', () => {
  it('are what the upload manager of the SDK makes of a stream', async () => {
    const content = randomBytes(12 * 1024 * 1024);
    await new Upload({ client: s3, params: { Bucket, Key: key, Body: content } }).done();
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: key }));
    expect(Buffer.compare(Buffer.from((await Body?.transformToByteArray()) ?? []), content)).toBe(0);
    expect(await uploads()).toEqual([]);
  });

  it('come in any order, are listed, and show nothing before the end', async () => {
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: key }));
    const part = (PartNumber: number, Body: string) =>
      s3.send(new UploadPartCommand({ Bucket, Key: key, UploadId, PartNumber, Body }));
    const [two, one] = [await part(2, 'b'), await part(1, 'a')];
    const { Parts } = await s3.send(new ListPartsCommand({ Bucket, Key: key, UploadId }));
    expect(Parts).toMatchObject([
      { PartNumber: 1, ETag: one.ETag, Size: 1 },
      { PartNumber: 2, ETag: two.ETag, Size: 1 },
    ]);
    const pages = paginateListParts({ client: s3, pageSize: 1 }, { Bucket, Key: key, UploadId });
    const numbers: (number | undefined)[] = [];
    for await (const page of pages) numbers.push(...(page.Parts ?? []).map(({ PartNumber }) => PartNumber));
    expect(numbers).toEqual([1, 2]);
    const complete = (...order: { PartNumber: number; ETag: string | undefined }[]) =>
      s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: key, UploadId, MultipartUpload: { Parts: order } }));
    const [first, second] = [
      { PartNumber: 1, ETag: one.ETag },
      { PartNumber: 2, ETag: two.ETag },
    ];
    expect(await failureOf(complete(second, first))).toMatchObject({ name: 'InvalidPartOrder' });
    expect(await failureOf(complete(first, { PartNumber: 2, ETag: one.ETag }))).toMatchObject({ name: 'InvalidPart' });
    expect(await failureOf(complete())).toMatchObject({ name: 'MalformedXML' });
    expect(await failureOf(textOf())).toMatchObject({ name: 'NoSuchKey' });
    const done = await complete(first, second);
    expect(await textOf()).toBe('ab');
    // Whoever did not hear the answer asks again.
    expect(await complete(first, second)).toMatchObject({ ETag: done.ETag });
  });

  it('that are aborted are gone', async () => {
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: key }));
    const part = () => s3.send(new UploadPartCommand({ Bucket, Key: key, UploadId, PartNumber: 1, Body: 'a' }));
    await part();
    await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId }));
    expect(await failureOf(part())).toMatchObject({ name: 'NoSuchUpload' });
    expect(await uploads()).toEqual([]);
  });

  it('are completed by nothing but a plain list', async () => {
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: key }));
    for (const text of [
      '',
      '<a>',
      '<CompleteMultipartUpload/>',
      '<!DOCTYPE a [<!ENTITY b "c">]><CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&b;</ETag></Part></CompleteMultipartUpload>',
      '<CompleteMultipartUpload><Part><PartNumber>0</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>',
      '<__proto__><Part/></__proto__>',
    ]) {
      const path = `${rawPath()}?uploadId=${UploadId}`;
      const answer = await ask(url, access, { method: 'POST', path, body: Buffer.from(text) });
      expect([answer.status, /<Code>(\w+)/.exec(answer.text)?.[1]], text).toEqual([400, 'MalformedXML']);
    }
    await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId }));
  });
});

describe('listings', () => {
  it('show the organization’s own, by page, and in groups', async () => {
    const mine = await accessOf(await api.addOrganization());
    const client = clientOf(mine);
    const names = ['a', 'b', 'c'].map((letter) => `${mine.organizationId}/${letter.repeat(64)}/context.tar`);
    for (const Key of names) await client.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }));
    const list = (options: object) =>
      client.send(new ListObjectsV2Command({ Bucket, Prefix: `${mine.organizationId}/`, ...options }));
    expect((await list({})).Contents?.map(({ Key }) => Key)).toEqual(names);
    const page = await list({ MaxKeys: 2 });
    expect(page).toMatchObject({ KeyCount: 2, IsTruncated: true });
    const rest = await list({ ContinuationToken: page.NextContinuationToken });
    expect(rest.Contents?.map(({ Key }) => Key)).toEqual(names.slice(2));
    const found = await list({ Prefix: names[1]?.replace('context.tar', ''), MaxKeys: 1 });
    expect(found).toMatchObject({ KeyCount: 1, Contents: [{ Key: names[1], Size: 1 }] });
    const groups = await list({ Delimiter: '/' });
    expect(groups.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(names.map((name) => name.slice(0, -11)));
    const top = await list({ Delimiter: '/', Prefix: mine.organizationId, FetchOwner: true, EncodingType: 'url' });
    expect(top).toMatchObject({ CommonPrefixes: [{ Prefix: `${mine.organizationId}%2F` }], EncodingType: 'url' });
  });

  it('of a prefix that nothing has are empty', async () => {
    const Prefix = `${organizationId}/${'f'.repeat(32)}/`;
    expect(await s3.send(new ListObjectsV2Command({ Bucket, Prefix, MaxKeys: 1 }))).toMatchObject({ KeyCount: 0 });
  });
});

describe('as minio-go asks', () => {
  const get = (path: string) => ask(url, access, { method: 'GET', path });

  it('first where the bucket is, then what is there, then for a directory', async () => {
    const location = await get(`/${Bucket}/?location=`);
    expect(location).toMatchObject({ status: 200, text: expect.stringContaining('<LocationConstraint') });
    const query = `delimiter=%2F&encoding-type=url&fetch-owner=true&list-type=2&prefix=${organizationId}`;
    expect(await get(`/${Bucket}/?${query}`)).toMatchObject({ status: 200 });
    const directory = { method: 'PUT', path: rawPath().replace('context.tar', '') };
    expect(await ask(url, access, directory)).toMatchObject({ status: 200 });
    expect(await ask(url, access, { ...directory, body: Buffer.from('x') })).toMatchObject({ status: 400 });
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
    const head = signedHead(url, access, wanted);
    const body = chunked(pieces, head);
    const spoilt = Buffer.from(body);
    spoilt.writeUInt8(spoilt.readUInt8(200) ^ 1, 200);
    const refused = await send(url, { ...wanted, body: spoilt }, head.headers);
    expect(refused).toMatchObject({ status: 403, text: expect.stringContaining('SignatureDoesNotMatch') });
    expect(await failureOf(textOf())).toMatchObject({ name: 'NoSuchKey' });

    expect(await send(url, { ...wanted, body }, head.headers)).toMatchObject({ status: 200 });
    const answer = await get(rawPath());
    expect(Buffer.compare(Buffer.from(answer.text, 'latin1'), content)).toBe(0);
  });

  it('and raw bytes without a hash over https', async () => {
    const body = Buffer.from('content');
    const answer = await ask(url, access, { method: 'PUT', path: rawPath(), payload: 'UNSIGNED-PAYLOAD', body });
    expect(answer).toMatchObject({ status: 200, headers: { etag: expect.stringMatching(/^"\w+"$/) } });
    expect(await textOf()).toBe('content');
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
    expect(await ask(url, access, wanted())).toMatchObject({ status: 200, wasInvited: true });
    expect(await textOf()).toBe('content');
  });

  it('is refused unasked, and its connection ends, where it is not', async () => {
    const stranger = { ...access, secret: 'another' };
    const answer = await ask(url, stranger, wanted());
    expect(answer).toMatchObject({ status: 403, wasInvited: false, headers: { connection: 'close' } });
    const elsewhere = { ...wanted(), path: `/${Bucket}/${crypto.randomUUID()}/${'a'.repeat(32)}/context.tar` };
    expect(await ask(url, access, elsewhere)).toMatchObject({ status: 403, wasInvited: false });
  });

  it('is treated the same by every other surface', async () => {
    const body = Buffer.from('{}');
    const headers = { expect: '100-continue', 'content-type': 'application/json' };
    const wantedOfApi = { method: 'POST', path: '/api/snapshots', body };
    expect(await send(url, wantedOfApi, headers)).toMatchObject({ status: 401, wasInvited: false });
    const apiKey = await api.addKey(organizationId);
    const known = await send(url, wantedOfApi, { ...headers, authorization: `Bearer ${apiKey}` });
    expect(known).toMatchObject({ status: 400, wasInvited: true });
  });
});

describe('refusals', () => {
  const codeOf = async (wanted: Parameters<typeof ask>[2], given = access) =>
    /<Code>(\w+)<\/Code>/.exec((await ask(url, given, wanted)).text)?.[1];

  it('are in the shape of S3 with the id of the request', async () => {
    const { status, headers, text } = await ask(url, access, { method: 'GET', path: rawPath() });
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
    const unsigned = await send(url, { method: 'GET', path }, {});
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
    expect(await codeOf({ method: 'GET', path: `/${Bucket}?list-type=1&prefix=${organizationId}` })).toBe(
      'NotImplemented',
    );
    expect(await codeOf({ method: 'PUT', path: `/${Bucket}` })).toBe('MethodNotAllowed');
  });
});

it('a client that goes away in the middle leaves nothing', async () => {
  const body = Buffer.alloc(1024 * 1024);
  const wanted = { method: 'PUT', path: rawPath(), body };
  const { headers } = signedHead(url, access, wanted);
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  const head = Object.entries({ ...headers, 'content-length': String(body.length) }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`PUT ${wanted.path} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
  socket.write(body.subarray(0, 100_000));
  await vi.waitFor(async () => expect(await uploads()).toHaveLength(1), { timeout: 10_000 });
  socket.destroy();
  await vi.waitFor(async () => expect(await uploads()).toEqual([]), { timeout: 10_000 });
  expect(await failureOf(textOf())).toMatchObject({ name: 'NoSuchKey' });
});
