import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ChunkedBody } from './chunked-body.ts';
import { S3Error } from './s3-error.ts';
import { hmac, readSignature, type SignedRequest, sha256, signingKey, verifySignature } from './signature.ts';
import { signedBody } from './signed-body.ts';

/** Requests of the real SDK, taken by a plain server; nothing of ours signs. */
const SECRET = 'a secret';
let endpoint: string;
let seen: { url: string; payload: string; body: string } | undefined;
let failure: unknown;

const server = createServer((request, response) => {
  take(request)
    .then((it) => {
      seen = it;
      response.setHeader('etag', '"x"').end();
    })
    .catch((error: unknown) => {
      failure = error;
      response.writeHead(error instanceof S3Error ? error.status : 500).end();
    });
});

async function take(request: IncomingMessage) {
  const signed: SignedRequest = { method: request.method ?? '', url: request.url ?? '', headers: request.headers };
  const signature = readSignature(signed);
  verifySignature(signed, signature, SECRET, Date.now());
  const chunks = await signedBody(request, request.headers, signature, SECRET).toArray();
  return { url: signed.url, payload: signature.payload, body: Buffer.concat(chunks).toString() };
}

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a port');
  endpoint = `http://127.0.0.1:${address.port}`;
});
afterAll(() => void server.close());
beforeEach(() => {
  seen = undefined;
  failure = undefined;
});

const client = (secretAccessKey = SECRET) =>
  new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: 'KEY/1', secretAccessKey, sessionToken: 'token+/=' },
  });

describe('the AWS SDK', () => {
  test('is believed when it signs with the secret, whatever is in the key', async () => {
    const Key = "org/a b+c(d)'e~!*é/context.tar";
    await client().send(new PutObjectCommand({ Bucket: 'bucket', Key, Body: 'content' }));
    expect(seen).toMatchObject({ body: 'content', payload: sha256('content') });
  });

  test('streams chunks with a checksum behind them', async () => {
    const text = 'streamed '.repeat(20_000);
    await client().send(
      new PutObjectCommand({
        Bucket: 'bucket',
        Key: 'k',
        Body: Readable.from([Buffer.from(text)]),
        ContentLength: text.length,
      }),
    );
    expect(seen?.payload).toBe('STREAMING-UNSIGNED-PAYLOAD-TRAILER');
    expect(seen?.body).toBe(text);
  });

  test('is refused with another secret', async () => {
    await expect(client('another').send(new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: '' }))).rejects.toThrow();
    expect(failure).toMatchObject({ code: 'SignatureDoesNotMatch' });
  });
});

const chunkOf = (bytes: Buffer, signature?: string) =>
  Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}${signature === undefined ? '' : `;chunk-signature=${signature}`}\r\n`),
    bytes,
    Buffer.from('\r\n'),
  ]);

async function decode(body: ChunkedBody, bytes: Buffer, cut: number): Promise<string> {
  const pieces = Array.from({ length: Math.ceil(bytes.length / cut) }, (_, index) =>
    bytes.subarray(index * cut, (index + 1) * cut),
  );
  return Buffer.concat(await Readable.from(pieces).compose(body).toArray()).toString('latin1');
}

describe('aws-chunked', () => {
  test('gives the same bytes, wherever the network cuts them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 5 }),
        fc.integer({ min: 1, max: 60 }),
        async (parts, cut) => {
          const chunks = parts.map((part) => Buffer.from(part));
          const body = Buffer.concat([
            ...chunks.map((chunk) => chunkOf(chunk)),
            Buffer.from('0\r\nx-amz-checksum-crc32:abc=\r\n\r\n'),
          ]);
          const decoder = new ChunkedBody();
          expect(await decode(decoder, body, cut)).toBe(Buffer.concat(chunks).toString('latin1'));
          expect(decoder.trailers.get('x-amz-checksum-crc32')).toBe('abc=');
        },
      ),
    );
  });

  test.each(['zz\r\n', '5\r\nabc', '0\r\n\r\nmore', '3\r\nabcd\r\n0\r\n\r\n', `${'1'.repeat(5000)}`])(
    '%j is refused',
    async (text) => {
      await expect(decode(new ChunkedBody(), Buffer.from(text), 7)).rejects.toBeInstanceOf(S3Error);
    },
  );

  test('signed chunks are checked one over the other', async () => {
    const head = {
      date: '20260131',
      region: 'us-east-1',
      timestamp: '20260131T000000Z',
      scope: '20260131/us-east-1/s3/aws4_request',
      signature: 'a'.repeat(64),
    };
    const signing = { key: signingKey(SECRET, head), signature: head };
    let previous = head.signature;
    const signed = (bytes: Buffer) => {
      const text = ['AWS4-HMAC-SHA256-PAYLOAD', head.timestamp, head.scope, previous, sha256(''), sha256(bytes)].join(
        '\n',
      );
      previous = hmac(signing.key, text).toString('hex');
      return chunkOf(bytes, previous);
    };
    const [one, two, end] = [signed(Buffer.from('one')), signed(Buffer.from('two')), signed(Buffer.alloc(0))];
    expect(await decode(new ChunkedBody(signing), Buffer.concat([one, two, end]), 10)).toBe('onetwo');
    await expect(decode(new ChunkedBody(signing), Buffer.concat([two, one, end]), 10)).rejects.toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
    await expect(
      decode(new ChunkedBody(signing), Buffer.concat([one, chunkOf(Buffer.from('two'))]), 10),
    ).rejects.toMatchObject({ code: 'AccessDenied' });
  });
});

test('a request is good for a quarter of an hour, and a presigned one as long as it says', () => {
  const url = (seconds: number) =>
    `/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20260131%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260131T000000Z&X-Amz-Expires=${seconds}&X-Amz-SignedHeaders=host&X-Amz-Signature=${'0'.repeat(64)}`;
  const request = { method: 'GET', url: url(3600), headers: { host: 'h' } };
  const signature = readSignature(request);
  const at = Date.UTC(2026, 0, 31);
  expect(() => verifySignature(request, signature, SECRET, at + 3_601_000)).toThrow('Request has expired');
  expect(() => verifySignature(request, signature, SECRET, at + 1000)).toThrow('does not match');
  expect(() => readSignature({ ...request, url: url(604_801) })).toThrow('X-Amz-Expires');
  expect(() => readSignature({ method: 'GET', url: '/', headers: {} })).toThrow('not signed');
});
