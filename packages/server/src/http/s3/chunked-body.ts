import { createHash, type Hash, timingSafeEqual } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { S3Error } from './s3-error.ts';
import { hmac, type Signature, sha256 } from './signature.ts';

/** A chunk's head and a trailer's lines are short; whoever sends longer ones means no good. */
const MAX_LINE = 4096;
const MAX_TRAILER_LINES = 32;
const MAX_CHUNK = 64 * 1024 * 1024;
const EMPTY = sha256('');

export interface ChunkSigning {
  key: Buffer;
  signature: Pick<Signature, 'signature' | 'scope' | 'timestamp'>;
}

type State = 'head' | 'data' | 'data end' | 'trailer' | 'end';

/**
 * Decodes `aws-chunked`: `HEXSIZE[;chunk-signature=…]`, the bytes, …, `0`, trailers. With `signing`, each chunk's signature is
 * checked, over the one before; data is handed on as it comes, and an error says at the end of a chunk that it was not the sender's.
 */
export class ChunkedBody extends Transform {
  /** Complete when the stream has ended. Names in lower case. */
  readonly trailers = new Map<string, string>();
  readonly #signing: ChunkSigning | undefined;
  #previous: string;
  #state: State = 'head';
  #line = Buffer.alloc(0);
  #left = 0;
  #chunkHash: Hash | undefined;
  #chunkSignature = '';
  #trailerLines = 0;

  constructor(signing?: ChunkSigning) {
    super();
    this.#signing = signing;
    this.#previous = signing?.signature.signature ?? '';
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#read(chunk);
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  override _flush(done: TransformCallback): void {
    // Some senders leave out the empty line behind the last trailer.
    const isWhole = this.#state === 'end' || (this.#state === 'trailer' && this.#line.length === 0);
    done(isWhole ? null : new S3Error('IncompleteBody', 'The body ended before its last chunk.'));
  }

  #read(input: Buffer): void {
    let rest = input;
    while (rest.length > 0) {
      if (this.#state === 'end') throw new S3Error('InvalidRequest', 'There is something behind the last chunk.');
      if (this.#state === 'data') {
        const part = rest.subarray(0, this.#left);
        this.#left -= part.length;
        this.#chunkHash?.update(part);
        this.push(part);
        rest = rest.subarray(part.length);
        if (this.#left === 0) this.#endChunk();
        continue;
      }
      const newline = rest.indexOf('\n');
      const part = newline === -1 ? rest : rest.subarray(0, newline);
      if (this.#line.length + part.length > MAX_LINE) throw malformed();
      this.#line = Buffer.concat([this.#line, part]);
      if (newline === -1) return;
      rest = rest.subarray(newline + 1);
      const line = this.#line.toString('latin1').replace(/\r$/, '');
      this.#line = Buffer.alloc(0);
      this.#takeLine(line);
    }
  }

  #takeLine(line: string): void {
    switch (this.#state) {
      case 'head':
        this.#beginChunk(line);
        break;
      case 'data end':
        if (line !== '') throw malformed();
        this.#state = 'head';
        break;
      case 'trailer':
        this.#takeTrailer(line);
        break;
      case 'data':
      case 'end':
        throw malformed();
    }
  }

  #beginChunk(line: string): void {
    const [, size, signature = ''] = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line) ?? [];
    if (size === undefined) throw malformed();
    if (this.#signing !== undefined && signature === '') throw new S3Error('AccessDenied', 'A chunk has no signature.');
    this.#left = Number.parseInt(size, 16);
    if (this.#left > MAX_CHUNK) throw new S3Error('EntityTooLarge', `A chunk is larger than ${MAX_CHUNK} bytes.`);
    this.#chunkSignature = signature;
    this.#chunkHash = this.#signing === undefined ? undefined : createHash('sha256');
    if (this.#left > 0) this.#state = 'data';
    else {
      this.#check();
      this.#state = 'trailer';
    }
  }

  #endChunk(): void {
    this.#check();
    this.#state = 'data end';
  }

  #check(): void {
    const signing = this.#signing;
    if (signing === undefined || this.#chunkHash === undefined) return;
    const { scope, timestamp } = signing.signature;
    const text = [
      'AWS4-HMAC-SHA256-PAYLOAD',
      timestamp,
      scope,
      this.#previous,
      EMPTY,
      this.#chunkHash.digest('hex'),
    ].join('\n');
    this.#previous = this.#same(hmac(signing.key, text).toString('hex'), this.#chunkSignature);
  }

  #takeTrailer(line: string): void {
    if (line === '') {
      this.#state = 'end';
      return;
    }
    this.#trailerLines += 1;
    const colon = line.indexOf(':');
    if (colon < 1 || this.#trailerLines > MAX_TRAILER_LINES) throw malformed();
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name !== 'x-amz-trailer-signature') {
      this.trailers.set(name, value);
      return;
    }
    const signing = this.#signing;
    if (signing === undefined) return;
    const text = [...this.trailers]
      .map(([key, text]) => `${key}:${text}\n`)
      .sort()
      .join('');
    const { scope, timestamp } = signing.signature;
    const signed = ['AWS4-HMAC-SHA256-TRAILER', timestamp, scope, this.#previous, sha256(text)].join('\n');
    this.#same(hmac(signing.key, signed).toString('hex'), value);
  }

  #same(expected: string, given: string): string {
    if (expected.length === given.length && timingSafeEqual(Buffer.from(expected), Buffer.from(given))) return expected;
    throw new S3Error('SignatureDoesNotMatch', 'A part of the body does not have the signature that comes with it.');
  }
}

function malformed(): S3Error {
  return new S3Error('InvalidRequest', 'The body is not in the aws-chunked form that its headers say.');
}
