import type { ContextKey } from '../../builds/contexts/context-store.ts';
import type { Operation } from './call.ts';
import { getLocation, headBucket, listObjects } from './list.ts';
import { abortUpload, beginUpload, createCompleteUpload, listParts, putPart } from './multipart.ts';
import { getContext, headContext, missing, putContext, putDirectory, refused } from './objects.ts';
import { notImplemented, S3Error } from './s3-error.ts';
import type { Located } from './target.ts';

type Query = Located['query'];
type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Parameters that say nothing of what is asked for. */
const OTHER_PARAMETERS = /^(x-id|x-amz-.*|response-.*)$/i;
const PARAMETERS: Readonly<Record<Located['target']['kind'], ReadonlySet<string>>> = {
  bucket: new Set(
    'location,list-type,prefix,delimiter,max-keys,encoding-type,fetch-owner,continuation-token,start-after,metadata'.split(
      ',',
    ),
  ),
  context: new Set(['uploads', 'uploadId', 'partNumber', 'max-parts', 'part-number-marker']),
  directory: new Set(),
  nothing: new Set(),
};

/** Names what a request asks for; raises `NotImplemented` for anything that would otherwise be done only in part. */
export function createOperationOf(): (method: string, located: Located, headers: Headers) => Operation {
  const completeUpload = createCompleteUpload();

  function ofContext(method: string, key: ContextKey, query: Query): Operation {
    const uploadId = query.get('uploadId');
    switch (method) {
      case 'GET':
        return uploadId === undefined ? getContext(key) : listParts(key, uploadId);
      case 'HEAD':
        return headContext(key);
      case 'PUT':
        return uploadId === undefined ? putContext(key) : putPart(key, uploadId);
      case 'POST':
        if (uploadId !== undefined) return completeUpload(key, uploadId);
        if (query.has('uploads')) return beginUpload(key);
        throw notImplemented('This form of POST');
      case 'DELETE':
        return uploadId === undefined ? refused : abortUpload(key, uploadId);
      default:
        throw methodNotAllowed();
    }
  }

  return (method, { target, query }, headers) => {
    const unknown = [...query.keys()].find(
      (name) => !PARAMETERS[target.kind].has(name) && !OTHER_PARAMETERS.test(name),
    );
    if (unknown !== undefined) throw notImplemented(`The parameter ${unknown.slice(0, 60)}`);
    if (headers['x-amz-copy-source'] !== undefined) throw notImplemented('Copying');
    const isRead = method === 'GET' || method === 'HEAD';
    if (!isRead && (headers['if-match'] ?? headers['if-none-match']) !== undefined) {
      throw notImplemented('A conditional write');
    }
    switch (target.kind) {
      case 'bucket':
        return ofBucket(method, query);
      case 'context':
        return ofContext(method, target.key, query);
      case 'directory':
        return isRead ? missing : method === 'PUT' ? putDirectory : refused;
      case 'nothing':
        return isRead ? missing : refused;
    }
  };
}

function ofBucket(method: string, query: Query): Operation {
  if (method === 'HEAD') return headBucket;
  if (method !== 'GET') throw methodNotAllowed();
  if (query.has('location')) return getLocation;
  if (query.get('list-type') === '2') return listObjects;
  throw notImplemented('Any listing but ListObjectsV2');
}

const methodNotAllowed = () =>
  new S3Error('MethodNotAllowed', 'The specified method is not allowed against this resource.');
