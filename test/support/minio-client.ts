import { createHash } from 'node:crypto';
import {
  ask,
  chunked,
  type RawAnswer,
  type RawCredentials,
  send,
  signedHead,
} from '../../packages/server/src/http/s3/testing/raw-client.ts';
import { run } from '../../packages/server/src/platform/process.ts';
import { type Darkroom, jsonOf } from './darkroom.ts';

interface PushAccess extends RawCredentials {
  storageUrl: string;
  bucket: string;
  organizationId: string;
}

const CHUNK = 64 * 1024;
/** What stands behind the last file of an archive that was closed. */
const END_BLOCKS = 1024;

/**
 * A directory goes up as the official CLI sends it with minio-go over http: it asks where the bucket is and what is there, puts an empty
 * marker, and then the archive in signed chunks; and it hashes and sends the archive before it is closed, so that the end is missing.
 */
export async function uploadLikeCli(darkroom: Darkroom, directory: string): Promise<string> {
  const access = await jsonOf<PushAccess>(darkroom.api('/object-storage/push-access'));
  const store = new URL(access.storageUrl).origin;
  const whole = await run('sh', ['-c', 'tar --format=ustar --blocking-factor=1 -c . | base64 -w0'], {
    timeoutMs: 30_000,
    cwd: directory,
  });
  const archive = Buffer.from(whole.stdout, 'base64').subarray(0, -END_BLOCKS);
  const hash = createHash('sha256').update(archive).digest('hex');
  const within = `/${access.bucket}/${access.organizationId}/${hash}`;

  expected(200, await ask(store, access, { method: 'GET', path: `/${access.bucket}/?location=` }));
  const query = `delimiter=%2F&encoding-type=url&fetch-owner=true&list-type=2&prefix=${access.organizationId}`;
  expected(200, await ask(store, access, { method: 'GET', path: `/${access.bucket}/?${query}` }));
  const marker = { method: 'PUT', path: `${within}/`, headers: { 'content-type': 'application/directory' } };
  expected(200, await sendChunks(store, access, marker, []));
  const object = {
    method: 'PUT',
    path: `${within}/context.tar`,
    headers: { 'content-type': 'application/octet-stream' },
  };
  const pieces = Array.from({ length: Math.ceil(archive.length / CHUNK) }, (_, index) =>
    archive.subarray(index * CHUNK, (index + 1) * CHUNK),
  );
  expected(200, await sendChunks(store, access, object, pieces));
  return hash;
}

function sendChunks(
  store: string,
  access: PushAccess,
  wanted: { method: string; path: string; headers: Record<string, string> },
  pieces: readonly Buffer[],
): Promise<RawAnswer> {
  const length = pieces.reduce((sum, { length }) => sum + length, 0);
  const head = signedHead(store, access, {
    ...wanted,
    payload: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
    headers: { ...wanted.headers, 'x-amz-decoded-content-length': String(length) },
  });
  return send(store, { ...wanted, body: chunked(pieces, head) }, head.headers);
}

function expected(status: number, answer: RawAnswer): void {
  if (answer.status !== status) throw new Error(`the store answered ${answer.status}: ${answer.text}`);
}
