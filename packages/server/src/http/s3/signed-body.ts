import { createHash } from 'node:crypto';
import { type Readable, Transform, type TransformCallback } from 'node:stream';
import { CHECKSUMS, type ChecksumName, createChecksum } from './checksums.ts';
import { ChunkedBody } from './chunked-body.ts';
import { S3Error } from './s3-error.ts';
import { type Signature, signingKey, UNSIGNED_PAYLOAD } from './signature.ts';

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/**
 * The bytes of an object out of a request whose head has been verified. The stream ends only when all that the head or a trailer
 * says of them is true (length, hash, checksums); else it is destroyed with an `S3Error`, and nothing of it may be kept.
 */
export function signedBody(raw: Readable, headers: Headers, signature: Signature, secret: string): Readable {
  const { payload } = signature;
  if (!payload.startsWith('STREAMING-')) {
    if (payload !== UNSIGNED_PAYLOAD && !/^[0-9a-f]{64}$/.test(payload)) {
      throw new S3Error(
        'InvalidArgument',
        'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a form of STREAMING, or a sha256 value.',
      );
    }
    const check = new BodyCheck(headers, { sha256: payload === UNSIGNED_PAYLOAD ? undefined : payload });
    return connect([raw, check], check);
  }
  const signing = { key: signingKey(secret, signature), signature };
  const decoder = chunkDecoder(payload, signing);
  const length = lengthOf(headers['x-amz-decoded-content-length']);
  if (length === undefined) throw new S3Error('InvalidRequest', 'x-amz-decoded-content-length is missing or no length');
  const check = new BodyCheck(headers, { length, trailers: decoder.trailers });
  return connect([raw, decoder, check], check);
}

function chunkDecoder(payload: string, signing: ConstructorParameters<typeof ChunkedBody>[0]): ChunkedBody {
  switch (payload) {
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return new ChunkedBody(signing);
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return new ChunkedBody();
    default:
      throw new S3Error('NotImplemented', `The payload form ${payload.slice(0, 60)} is not supported.`);
  }
}

/** Like `pipeline`, but nobody waits for it: an error anywhere destroys the last one, whose reader hears of it. */
function connect(streams: readonly [Readable, ...Transform[]], last: Transform): Readable {
  for (const [index, stream] of streams.entries()) {
    const next = streams[index + 1];
    if (!(next instanceof Transform)) break;
    stream.once('error', (error) => last.destroy(error));
    stream.once('close', () => {
      if (!stream.readableEnded)
        last.destroy(new S3Error('IncompleteBody', 'The connection was closed in the middle of the body.'));
    });
    stream.pipe(next);
  }
  return last;
}

interface Expected {
  sha256?: string | undefined;
  length?: number | undefined;
  trailers?: ReadonlyMap<string, string>;
}

class BodyCheck extends Transform {
  readonly #headers: Headers;
  readonly #expected: Expected;
  readonly #sha256 = createHash('sha256');
  readonly #md5 = createHash('md5');
  readonly #checksums: ReadonlyMap<ChecksumName, ReturnType<typeof createChecksum>>;
  #length = 0;
  /** The last one is not given away before everything was checked: nobody downstream can have all of a wrong body. */
  #held: Buffer | undefined;

  constructor(headers: Headers, expected: Expected) {
    super();
    this.#headers = headers;
    this.#expected = expected;
    const announced = `${headers['x-amz-trailer'] ?? ''}`.toLowerCase();
    const used = CHECKSUMS.filter((name) => headers[header(name)] !== undefined || announced.includes(header(name)));
    this.#checksums = new Map(used.map((name) => [name, createChecksum(name)]));
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#length += chunk.length;
    const { length, sha256 } = this.#expected;
    if (length !== undefined && this.#length > length) {
      done(lengthMismatch());
      return;
    }
    if (sha256 !== undefined) this.#sha256.update(chunk);
    if (this.#headers['content-md5'] !== undefined) this.#md5.update(chunk);
    for (const checksum of this.#checksums.values()) checksum.update(chunk);
    if (this.#held !== undefined) this.push(this.#held);
    this.#held = chunk;
    done();
  }

  override _flush(done: TransformCallback): void {
    const fault = this.#fault();
    if (fault === undefined) done(null, this.#held);
    else done(fault);
  }

  #fault(): S3Error | undefined {
    const { length, sha256, trailers } = this.#expected;
    if (length !== undefined && this.#length !== length) return lengthMismatch();
    if (sha256 !== undefined && this.#sha256.digest('hex') !== sha256) {
      return new S3Error(
        'XAmzContentSHA256Mismatch',
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
      );
    }
    const md5 = this.#headers['content-md5'];
    if (md5 !== undefined && this.#md5.digest('base64') !== md5) return badDigest('Content-MD5');
    for (const [name, checksum] of this.#checksums) {
      const expected = trailers?.get(header(name)) ?? this.#headers[header(name)];
      if (expected === undefined || checksum.base64() !== expected) return badDigest(name);
    }
    return undefined;
  }
}

const header = (name: ChecksumName) => `x-amz-checksum-${name}` as const;
const badDigest = (name: string) =>
  new S3Error('BadDigest', `The ${name} you specified did not match the calculated checksum.`);
const lengthMismatch = () => new S3Error('IncompleteBody', 'The body does not have the length that its headers say.');

export function lengthOf(value: string | string[] | undefined): number | undefined {
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}
