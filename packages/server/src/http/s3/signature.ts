import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { S3Error } from './s3-error.ts';

/** AWS Signature Version 4 for S3, in a header or (presigned) in the query. */

export interface SignedRequest {
  method: string;
  /** As it came, still encoded, with the query. */
  url: string;
  /** Names in lower case, as Node gives them. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Signature {
  accessKey: string;
  /** `20260131/us-east-1/s3/aws4_request`. */
  scope: string;
  region: string;
  date: string;
  /** `20260131T120000Z`. */
  timestamp: string;
  signedHeaders: string[];
  signature: string;
  sessionToken: string | undefined;
  /** What is signed of the body: a hash, or how it comes (`UNSIGNED-PAYLOAD`, `STREAMING-…`). */
  payload: string;
  isPresigned: boolean;
  /** Milliseconds since 1970. */
  validUntil: number;
}

/** How far clocks may be apart; longer for no request that is not presigned. */
const MAX_SKEW_MS = 15 * 60_000;
const MAX_PRESIGNED_SECONDS = 7 * 24 * 3600;
export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD';

export function readSignature(request: SignedRequest): Signature {
  const { query } = splitUrl(request.url);
  const fromQuery = query.some(([name]) => name === 'X-Amz-Algorithm');
  return fromQuery ? presigned(query) : inHeader(request);
}

/** Raises unless the request was signed with this secret, is of its time, and covers what it must. */
export function verifySignature(request: SignedRequest, signature: Signature, secret: string, now: number): void {
  const signedAt = timestampOf(signature.timestamp);
  if (signedAt - now > MAX_SKEW_MS || now > signature.validUntil) {
    throw signature.isPresigned
      ? new S3Error('AccessDenied', 'Request has expired')
      : new S3Error(
          'RequestTimeTooSkewed',
          'The difference between the request time and the current time is too large.',
        );
  }
  if (!signature.signedHeaders.includes('host')) throw new S3Error('AccessDenied', 'The host header must be signed');
  const expected = Buffer.from(signatureOf(stringToSign(request, signature), signature, secret));
  const given = Buffer.from(signature.signature);
  if (expected.length === given.length && timingSafeEqual(expected, given)) return;
  throw new S3Error(
    'SignatureDoesNotMatch',
    'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
  );
}

/** The key of one day, region and service; chunks of a streamed body are signed with it too. */
export function signingKey(secret: string, { date, region }: Pick<Signature, 'date' | 'region'>): Buffer {
  return [date, region, 's3', 'aws4_request'].reduce<Buffer>(
    (key, part) => hmac(key, part),
    Buffer.from(`AWS4${secret}`),
  );
}

export function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

export function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}

function signatureOf(text: string, signature: Signature, secret: string): string {
  return hmac(signingKey(secret, signature), text).toString('hex');
}

function stringToSign(request: SignedRequest, signature: Signature): string {
  const { path, query } = splitUrl(request.url);
  const canonical = [
    request.method,
    canonicalPath(path),
    canonicalQuery(query),
    ...signature.signedHeaders.map((name) => `${name}:${headerText(request.headers[name])}`),
    '',
    signature.signedHeaders.join(';'),
    signature.payload,
  ].join('\n');
  return ['AWS4-HMAC-SHA256', signature.timestamp, signature.scope, sha256(canonical)].join('\n');
}

function inHeader({ headers }: SignedRequest): Signature {
  const text = headerText(headers.authorization);
  const [, credential, signedHeaders, signature] =
    /^AWS4-HMAC-SHA256 +Credential=([^, ]+) *, *SignedHeaders=([^, ]+) *, *Signature=([0-9a-f]{64})$/.exec(text) ?? [];
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    if (text === '') throw new S3Error('AccessDenied', 'The request is not signed');
    throw new S3Error('AuthorizationHeaderMalformed', 'The authorization header is malformed.');
  }
  const timestamp = headerText(headers['x-amz-date']);
  const payload = headerText(headers['x-amz-content-sha256']);
  if (payload === '')
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  const token = headerText(headers['x-amz-security-token']);
  return {
    ...credentialOf(credential, timestamp, 'AuthorizationHeaderMalformed'),
    signedHeaders: signedHeaders.toLowerCase().split(';'),
    signature,
    sessionToken: token === '' ? undefined : token,
    payload,
    isPresigned: false,
    validUntil: timestampOf(timestamp) + MAX_SKEW_MS,
  };
}

function presigned(query: readonly Pair[]): Signature {
  const value = (name: string) => query.find(([key]) => key === name)?.[1] ?? '';
  const signature = value('X-Amz-Signature');
  const seconds = Number(value('X-Amz-Expires'));
  if (value('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256' || !/^[0-9a-f]{64}$/.test(signature)) {
    throw new S3Error('AuthorizationQueryParametersError', 'The query parameters of the signature are malformed.');
  }
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > MAX_PRESIGNED_SECONDS) {
    throw new S3Error('AuthorizationQueryParametersError', 'X-Amz-Expires must be between 1 and 604800 seconds');
  }
  const timestamp = value('X-Amz-Date');
  const token = value('X-Amz-Security-Token');
  return {
    ...credentialOf(value('X-Amz-Credential'), timestamp, 'AuthorizationQueryParametersError'),
    signedHeaders: value('X-Amz-SignedHeaders').toLowerCase().split(';'),
    signature,
    sessionToken: token === '' ? undefined : token,
    payload: UNSIGNED_PAYLOAD,
    isPresigned: true,
    validUntil: timestampOf(timestamp) + seconds * 1000,
  };
}

function credentialOf(
  credential: string,
  timestamp: string,
  malformed: 'AuthorizationHeaderMalformed' | 'AuthorizationQueryParametersError',
): Pick<Signature, 'accessKey' | 'scope' | 'region' | 'date' | 'timestamp'> {
  const parts = credential.split('/');
  const [date = '', region = '', service, end] = parts.slice(-4);
  const accessKey = parts.slice(0, -4).join('/');
  if (accessKey === '' || service !== 's3' || end !== 'aws4_request' || !timestamp.startsWith(`${date}T`)) {
    throw new S3Error(malformed, 'The credential must be KEY/DATE/REGION/s3/aws4_request, of the day of the request.');
  }
  return { accessKey, scope: parts.slice(-4).join('/'), region, date, timestamp };
}

function timestampOf(text: string): number {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? [];
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (!Number.isNaN(time)) return time;
  throw new S3Error('AccessDenied', 'The date of the request (x-amz-date) is missing or malformed');
}

type Pair = readonly [name: string, value: string];

export function splitUrl(url: string): { path: string; query: Pair[] } {
  const at = url.indexOf('?');
  if (at === -1) return { path: url, query: [] };
  const query = url
    .slice(at + 1)
    .split('&')
    .filter((part) => part !== '')
    .map((part): Pair => {
      const equals = part.indexOf('=');
      return equals === -1 ? [decode(part), ''] : [decode(part.slice(0, equals)), decode(part.slice(equals + 1))];
    });
  return { path: url.slice(0, at), query };
}

/** S3 signs the path as it is sent, encoded once; clients differ in what they encode, so it is made the same here. */
function canonicalPath(path: string): string {
  return (
    path
      .split('/')
      .map((name) => encode(decode(name)))
      .join('/') || '/'
  );
}

function canonicalQuery(query: readonly Pair[]): string {
  return query
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
}

function headerText(value: string | string[] | undefined): string {
  const text = Array.isArray(value) ? value.join(',') : (value ?? '');
  return text.trim().replace(/ +/g, ' ');
}

/** RFC 3986, which leaves fewer characters alone than `encodeURIComponent`. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error('InvalidArgument', 'The URL is not encoded correctly');
  }
}
