import type { ContextKey } from '../../builds/contexts/context-store.ts';
import { BUCKET } from './bucket.ts';
import { accessDenied, S3Error } from './s3-error.ts';
import { splitUrl } from './signature.ts';

/** What a request is about. Whatever is not a context of the organization itself is not there, and cannot be made. */
export type Target =
  | { kind: 'bucket' }
  | { kind: 'context'; key: ContextKey }
  /** `ORGANIZATION/HASH/`, which some clients make like a directory. */
  | { kind: 'directory' }
  | { kind: 'nothing' };

export interface Located {
  target: Target;
  query: ReadonlyMap<string, string>;
}

const HASH = '[0-9a-f]{32}|[0-9a-f]{64}';
const OBJECT = new RegExp(`^([^/]+)/(${HASH})/(context\\.tar)?$`);

/** Raises `AccessDenied` for what belongs to another organization. */
export function locate(url: string, organizationId: string): Located {
  const { path, query } = splitUrl(url);
  const [bucket = '', ...rest] = decoded(path).replace(/^\/+/, '').split('/');
  if (bucket !== BUCKET) throw new S3Error('NoSuchBucket', 'The specified bucket does not exist');
  return { target: targetOf(rest.join('/'), organizationId), query: new Map(query) };
}

export const nameOf = ({ organizationId, hash }: ContextKey) => `${organizationId}/${hash}/context.tar`;

function targetOf(name: string, organizationId: string): Target {
  if (name === '') return { kind: 'bucket' };
  if (!name.startsWith(`${organizationId}/`)) throw accessDenied();
  const [, , hash, file] = OBJECT.exec(name) ?? [];
  if (hash === undefined) return { kind: 'nothing' };
  return file === undefined ? { kind: 'directory' } : { kind: 'context', key: { organizationId, hash } };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new S3Error('InvalidArgument', 'The URL is not encoded correctly');
  }
}
