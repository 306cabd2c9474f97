import { type IncomingHttpHeaders, request } from 'node:http';
import { hmac, sha256, signingKey } from '../signature.ts';

/** Requests as they are written by hand: what a client would do of which there is no library for Node. */
export interface RawCredentials {
  accessKey: string;
  secret: string;
  sessionToken: string;
}

export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Whether the server asked for the body. */
  wasInvited: boolean;
}

export interface RawRequest {
  method: string;
  /** With the query, encoded and sorted. */
  path: string;
  headers?: Record<string, string>;
  payload?: string;
  /** Sent at once, or when the server asks for it, with `expect`. */
  body?: Buffer;
}

const DAY = () => new Date().toISOString().replace(/[-:]|\.\d+/g, '');

/** The head of a signed request, and the pieces that sign chunks. */
export function signedHead(url: string, { accessKey, secret, sessionToken }: RawCredentials, wanted: RawRequest) {
  const timestamp = DAY();
  const date = timestamp.slice(0, 8);
  const region = 'us-east-1';
  const scope = `${date}/${region}/s3/aws4_request`;
  const payload = wanted.payload ?? sha256(wanted.body ?? Buffer.alloc(0));
  const signed: Record<string, string> = {
    host: new URL(url).host,
    'x-amz-content-sha256': payload,
    'x-amz-date': timestamp,
    'x-amz-security-token': sessionToken,
  };
  const names = Object.keys(signed).sort();
  const [path = '', query = ''] = wanted.path.split('?');
  const canonical = [
    wanted.method,
    path,
    query,
    ...names.map((name) => `${name}:${signed[name]}`),
    '',
    names.join(';'),
    payload,
  ].join('\n');
  const key = signingKey(secret, { date, region });
  const signature = hmac(key, ['AWS4-HMAC-SHA256', timestamp, scope, sha256(canonical)].join('\n')).toString('hex');
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return { headers: { ...signed, authorization, ...wanted.headers }, key, signature, timestamp, scope };
}

/** `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk is signed over the one before. */
export function chunked(pieces: readonly Buffer[], head: ReturnType<typeof signedHead>): Buffer {
  let previous = head.signature;
  const chunks = [...pieces, Buffer.alloc(0)].map((bytes) => {
    const text = ['AWS4-HMAC-SHA256-PAYLOAD', head.timestamp, head.scope, previous, sha256(''), sha256(bytes)].join(
      '\n',
    );
    previous = hmac(head.key, text).toString('hex');
    return Buffer.concat([
      Buffer.from(`${bytes.length.toString(16)};chunk-signature=${previous}\r\n`),
      bytes,
      Buffer.from('\r\n'),
    ]);
  });
  return Buffer.concat(chunks);
}

export function send(url: string, wanted: RawRequest, headers: Record<string, string>): Promise<RawAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  let wasInvited = false;
  const body = wanted.body ?? Buffer.alloc(0);
  const outgoing = request(new URL(wanted.path, url), {
    method: wanted.method,
    headers: { 'content-length': String(body.length), ...headers },
    agent: false,
    timeout: 30_000,
  });
  outgoing.on('error', reject);
  outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')));
  outgoing.on('continue', () => {
    wasInvited = true;
    outgoing.end(body);
  });
  outgoing.on('response', (answer) => {
    answer.toArray().then((chunks) => {
      const text = Buffer.concat(chunks).toString('latin1');
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, wasInvited });
      outgoing.destroy();
    }, reject);
  });
  if (headers.expect === undefined) outgoing.end(body);
  else outgoing.flushHeaders();
  return promise;
}

export function ask(url: string, credentials: RawCredentials, wanted: RawRequest): Promise<RawAnswer> {
  return send(url, wanted, signedHead(url, credentials, wanted).headers);
}
