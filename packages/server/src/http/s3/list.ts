import type { StoredContext } from '../../builds/contexts/context-store.ts';
import { BUCKET, REGION } from './bucket.ts';
import { type Call, type Operation, sendXml } from './call.ts';
import { quoted } from './objects.ts';
import { accessDenied, S3Error } from './s3-error.ts';
import { encode } from './signature.ts';
import { nameOf } from './target.ts';

const MAX_KEYS = 1000;

/** Empty means us-east-1, as everywhere. */
export const getLocation: Operation = async ({ reply }) =>
  reply
    .type('application/xml')
    .send(
      '<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>',
    );

export const headBucket: Operation = async ({ reply }) => reply.header('x-amz-bucket-region', REGION).send();

/** ListObjectsV2 of the organization's own contexts. */
export const listObjects: Operation = async (call) => {
  const { query, reply, signer } = call;
  const prefix = query.get('prefix') ?? '';
  const { organizationId } = signer;
  if (prefix !== organizationId && !prefix.startsWith(`${organizationId}/`)) throw accessDenied();
  const delimiter = query.get('delimiter') ?? '';
  const token = query.get('continuation-token');
  const startAfter = query.get('start-after');
  const after = token === undefined ? (startAfter ?? '') : Buffer.from(token, 'base64url').toString();
  const max = maxKeysOf(query.get('max-keys'));
  const said = query.get('encoding-type') === 'url' ? encode : (text: string) => text;

  const groups = groupsOf(await matching(call, prefix), prefix, delimiter).filter(({ name }) => name > after);
  const page = groups.slice(0, max);
  const isTruncated = page.length < groups.length;
  const owner = query.get('fetch-owner') === 'true' ? { ID: organizationId, DisplayName: organizationId } : undefined;
  return sendXml(reply, 'ListBucketResult', {
    Name: BUCKET,
    Prefix: said(prefix),
    Delimiter: delimiter === '' ? undefined : said(delimiter),
    MaxKeys: max,
    EncodingType: query.get('encoding-type') === 'url' ? 'url' : undefined,
    KeyCount: page.length,
    IsTruncated: isTruncated,
    ContinuationToken: token,
    NextContinuationToken: isTruncated ? Buffer.from(page.at(-1)?.name ?? after).toString('base64url') : undefined,
    StartAfter: startAfter === undefined ? undefined : said(startAfter),
    Contents: page.flatMap(({ name, stored }) =>
      stored === undefined
        ? []
        : [
            {
              Key: said(name),
              LastModified: stored.modifiedAt.toISOString(),
              ETag: quoted(stored.etag),
              Size: stored.size,
              Owner: owner,
              StorageClass: 'STANDARD',
            },
          ],
    ),
    CommonPrefixes: page.flatMap(({ name, stored }) => (stored === undefined ? [{ Prefix: said(name) }] : [])),
  });
};

/** One that is asked for by its whole hash, as clients do before an upload, is found without a look at the others. */
async function matching({ store, signer }: Call, prefix: string): Promise<StoredContext[]> {
  const { organizationId } = signer;
  const [, hash] = /^[^/]+\/([0-9a-f]{64}|[0-9a-f]{32})\//.exec(prefix) ?? [];
  const all = hash === undefined ? await store.list(organizationId) : [await store.find({ organizationId, hash })];
  return all.filter((stored) => stored !== undefined).filter((stored) => nameOf(stored).startsWith(prefix));
}

interface Group {
  name: string;
  /** Undefined for what several names have in common. */
  stored: StoredContext | undefined;
}

function groupsOf(all: readonly StoredContext[], prefix: string, delimiter: string): Group[] {
  const groups = new Map<string, Group>();
  for (const stored of all) {
    const name = nameOf(stored);
    const at = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length);
    const group = at === -1 ? { name, stored } : { name: name.slice(0, at + delimiter.length), stored: undefined };
    groups.set(group.name, group);
  }
  return [...groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function maxKeysOf(text: string | undefined): number {
  if (text === undefined) return MAX_KEYS;
  if (!/^\d{1,9}$/.test(text)) throw new S3Error('InvalidArgument', 'max-keys must be a number from 0 on');
  return Math.min(Number(text), MAX_KEYS);
}
