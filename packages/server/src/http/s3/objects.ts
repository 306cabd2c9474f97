import type { FastifyReply } from 'fastify';
import type { ContextKey, StoredContext } from '../../builds/contexts/context-store.ts';
import { bodyOf, type Call, type Operation, readShortBody } from './call.ts';
import { accessDenied, noSuchKey, S3Error } from './s3-error.ts';
import { sha256 } from './signature.ts';

export const putContext =
  (key: ContextKey): Operation =>
  async (call) => {
    const stored = await call.store.put(key, bodyOf(call));
    return call.reply.header('etag', quoted(stored.etag)).send();
  };

/** Some clients make «directories» first; there are none, but nothing is wrong with that. */
export const putDirectory: Operation = async (call) => {
  const body = await readShortBody(call, 0);
  return call.reply.header('etag', quoted(sha256(body).slice(0, 32))).send();
};

export const headContext =
  (key: ContextKey): Operation =>
  async ({ store, request, reply }) => {
    const stored = await store.find(key);
    if (stored === undefined) throw noSuchKey();
    if (isUnchanged(request.headers, stored)) return reply.code(304).send();
    return describe(reply, stored).header('content-length', stored.size).send();
  };

export const getContext =
  (key: ContextKey): Operation =>
  async ({ store, request, reply }) => {
    const stored = await store.find(key);
    if (stored === undefined) throw noSuchKey();
    if (isUnchanged(request.headers, stored)) return reply.code(304).send();
    const range = rangeOf(request.headers.range, stored.size);
    const { stored: read, stream } = await store.read(key, range);
    if (read.etag !== stored.etag) {
      stream.destroy();
      throw new S3Error('ServiceUnavailable', 'The object was replaced just now. Please try again.');
    }
    describe(reply, stored);
    if (range !== undefined) {
      reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${stored.size}`);
    }
    const length = range === undefined ? stored.size : range.end - range.start + 1;
    return reply.header('content-length', length).send(stream);
  };

function describe(reply: FastifyReply, stored: StoredContext): FastifyReply {
  return reply.headers({
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    etag: quoted(stored.etag),
    'last-modified': stored.modifiedAt.toUTCString(),
  });
}

function isUnchanged(headers: Call['request']['headers'], stored: StoredContext): boolean {
  const has = (list: string) => list.split(',').some((tag) => tag.trim() === '*' || unquoted(tag) === stored.etag);
  const { 'if-match': match, 'if-none-match': noneMatch, 'if-modified-since': since } = headers;
  if (match !== undefined && !has(match)) {
    throw new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');
  }
  if (noneMatch !== undefined) return has(noneMatch);
  return since !== undefined && stored.modifiedAt.getTime() <= Date.parse(since);
}

/** One range; what is not understood is as if it were not there (RFC 9110, 14.2). */
function rangeOf(header: string | undefined, size: number): { start: number; end: number } | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== '' && last !== '' && Number(last) < start) return undefined;
  if (start > end) throw new S3Error('InvalidRange', 'The requested range is not satisfiable');
  return { start, end };
}

export const quoted = (etag: string) => `"${etag}"`;
export const unquoted = (etag: string) => etag.replace(/&quot;|&#34;|"/g, '').trim();

export const missing: Operation = async () => {
  throw noSuchKey();
};
export const refused: Operation = async () => {
  throw accessDenied('Only ORGANIZATION/HASH/context.tar may be written, with a hash of 32 or 64 hexadecimal digits.');
};
