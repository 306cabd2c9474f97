import { randomBytes } from 'node:crypto';
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
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ask } from './testing/raw-client.ts';
import { type Access, clientOf, failureOf, openUploadLab, type UploadLab } from './testing/upload-lab.ts';

/** As the AWS SDK asks. */
let lab: UploadLab;
let access: Access;
let s3: S3Client;
let key: string;

beforeAll(async () => {
  lab = await openUploadLab();
});
afterAll(() => lab?.api.stop());

beforeEach(async () => {
  access = await lab.accessOf(lab.organizationId);
  s3 = clientOf(access);
  key = `${lab.organizationId}/${randomBytes(16).toString('hex')}/context.tar`;
});

const Bucket = 'darkroom-contexts';
const put = (Body: string | Buffer, Key = key) => s3.send(new PutObjectCommand({ Bucket, Key, Body }));
const textOf = async (Range?: string) => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: key, ...(Range === undefined ? {} : { Range }) }));
  return Body?.transformToString();
};
const rawPath = () => `/${Bucket}/${key}`;

describe('push access', () => {
  it('is for the organization of the key, at the address that the client used', () => {
    expect(access).toEqual({
      accessKey: expect.stringMatching(/^\w+$/),
      secret: expect.any(String),
      sessionToken: expect.any(String),
      storageUrl: lab.url,
      organizationId: lab.organizationId,
      bucket: Bucket,
      region: 'us-east-1',
    });
  });

  it('needs a permission to make snapshots or sandboxes', async () => {
    const weak = await lab.api.addKey(lab.organizationId, { permissions: ['delete:snapshots'] });
    expect((await lab.api.ask('GET', '/api/object-storage/push-access', { key: weak })).status).toBe(403);
    expect((await lab.api.ask('GET', '/api/object-storage/push-access', { key: null })).status).toBe(401);
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
    expect(await lab.api.contexts.find({ organizationId: lab.organizationId, hash })).toMatchObject({ size: 7 });
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
    const elsewhere = new HeadObjectCommand({ Bucket, Key: `${lab.organizationId}/other` });
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
      const failure = await failureOf(put('x', `${lab.organizationId}/${name}`));
      expect(failure, name).toMatchObject({ name: 'AccessDenied' });
    }
  });

  it('of another organization are denied, whatever is asked for', async () => {
    const theirs = clientOf(await lab.accessOf(await lab.api.addOrganization()));
    await put('content');
    for (const attempt of [
      failureOf(theirs.send(new GetObjectCommand({ Bucket, Key: key }))),
      failureOf(theirs.send(new PutObjectCommand({ Bucket, Key: key, Body: 'x' }))),
      failureOf(theirs.send(new CreateMultipartUploadCommand({ Bucket, Key: key }))),
      failureOf(theirs.send(new ListObjectsV2Command({ Bucket, Prefix: `${lab.organizationId}/` }))),
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
    expect(await lab.uploads()).toEqual([]);
  });
});

describe('uploads in parts', () => {
  it('are what the upload manager of the SDK makes of a stream', async () => {
    const content = randomBytes(12 * 1024 * 1024);
    await new Upload({ client: s3, params: { Bucket, Key: key, Body: content } }).done();
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key: key }));
    expect(Buffer.compare(Buffer.from((await Body?.transformToByteArray()) ?? []), content)).toBe(0);
    expect(await lab.uploads()).toEqual([]);
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
    expect(await lab.uploads()).toEqual([]);
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
      const answer = await ask(lab.url, access, { method: 'POST', path, body: Buffer.from(text) });
      expect([answer.status, /<Code>(\w+)/.exec(answer.text)?.[1]], text).toEqual([400, 'MalformedXML']);
    }
    await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId }));
  });
});

describe('listings', () => {
  it('show the organization’s own, by page, and in groups', async () => {
    const mine = await lab.accessOf(await lab.api.addOrganization());
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
    const Prefix = `${lab.organizationId}/${'f'.repeat(32)}/`;
    expect(await s3.send(new ListObjectsV2Command({ Bucket, Prefix, MaxKeys: 1 }))).toMatchObject({ KeyCount: 0 });
  });
});
