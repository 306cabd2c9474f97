import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { ContextKey, UploadedPart } from '../../builds/contexts/context-store.ts';
import { DarkroomError } from '../../platform/errors.ts';
import { BUCKET } from './bucket.ts';
import { bodyOf, type Call, type Operation, readShortBody, sendXml } from './call.ts';
import { quoted, unquoted } from './objects.ts';
import { S3Error } from './s3-error.ts';
import { nameOf } from './target.ts';

const MAX_PARTS = 10_000;
/** Room for as many parts as there may be. */
const MAX_LIST_BYTES = 2 * 1024 * 1024;
const MAX_LISTED_PARTS = 1000;
const REMEMBERED = 1000;

export const beginUpload =
  (key: ContextKey): Operation =>
  async ({ store, reply }) => {
    const UploadId = await store.beginUpload(key);
    return sendXml(reply, 'InitiateMultipartUploadResult', { Bucket: BUCKET, Key: nameOf(key), UploadId });
  };

export const putPart =
  (key: ContextKey, uploadId: string): Operation =>
  async (call) => {
    const part = Number(call.query.get('partNumber'));
    if (!Number.isInteger(part) || part < 1 || part > MAX_PARTS) {
      throw new S3Error('InvalidArgument', `Part number must be an integer between 1 and ${MAX_PARTS}, inclusive`);
    }
    const { etag } = await call.store.putPart(key, uploadId, part, bodyOf(call));
    return call.reply.header('etag', quoted(etag)).send();
  };

/** A client that did not hear the first answer asks again: the same answer then. */
export function createCompleteUpload(): (key: ContextKey, uploadId: string) => Operation {
  const completed = new LRUCache<string, string>({ max: REMEMBERED });
  return (key, uploadId) => async (call) => {
    const parts = await readPartList((await readShortBody(call, MAX_LIST_BYTES)).toString());
    const name = nameOf(key);
    const etag = completed.get(`${name} ${uploadId}`) ?? (await complete(call, key, uploadId, parts));
    completed.set(`${name} ${uploadId}`, etag);
    const Location = `/${BUCKET}/${name}`;
    return sendXml(call.reply, 'CompleteMultipartUploadResult', {
      Location,
      Bucket: BUCKET,
      Key: name,
      ETag: quoted(etag),
    });
  };
}

async function complete({ store }: Call, key: ContextKey, uploadId: string, parts: UploadedPart[]): Promise<string> {
  try {
    return (await store.completeUpload(key, uploadId, parts)).etag;
  } catch (error) {
    if (error instanceof DarkroomError && error.code === 'invalid_request')
      throw new S3Error('InvalidPart', error.message);
    throw error;
  }
}

export const abortUpload =
  (key: ContextKey, uploadId: string): Operation =>
  async ({ store, reply }) => {
    await store.abortUpload(key, uploadId);
    return reply.code(204).send();
  };

export const listParts =
  (key: ContextKey, uploadId: string): Operation =>
  async ({ store, reply, query }) => {
    const after = Number(query.get('part-number-marker') ?? 0);
    const max = Math.min(Number(query.get('max-parts') ?? MAX_LISTED_PARTS), MAX_LISTED_PARTS);
    const rest = (await store.listParts(key, uploadId)).filter(({ part }) => part > after);
    const page = rest.slice(0, max);
    return sendXml(reply, 'ListPartsResult', {
      Bucket: BUCKET,
      Key: nameOf(key),
      UploadId: uploadId,
      PartNumberMarker: after,
      // Only where there is more: clients go on as long as one is named.
      NextPartNumberMarker: page.length < rest.length ? page.at(-1)?.part : undefined,
      MaxParts: max,
      IsTruncated: page.length < rest.length,
      Part: page.map(({ part, etag, size, modifiedAt }) => ({
        PartNumber: part,
        LastModified: modifiedAt.toISOString(),
        ETag: quoted(etag),
        Size: size,
      })),
    });
  };

const partListSchema = z.object({
  CompleteMultipartUpload: z.object({
    Part: z
      .array(z.object({ PartNumber: z.coerce.number().int().min(1).max(MAX_PARTS), ETag: z.string().max(200) }))
      .min(1),
  }),
});

async function readPartList(text: string): Promise<UploadedPart[]> {
  const malformed = (cause?: unknown) =>
    new S3Error('MalformedXML', 'The XML you provided was not well-formed or did not validate against our schema', {
      cause,
    });
  if (text.includes('<!')) throw malformed();
  // Loaded by the first who needs it: an idle server should stay small.
  const { XMLParser } = await import('fast-xml-parser');
  const parser = new XMLParser({
    ignoreAttributes: true,
    parseTagValue: false,
    // They stay as they are: whatever needs one has no place in such a list.
    processEntities: false,
    removeNSPrefix: true,
    isArray: (name) => name === 'Part',
  });
  let content: unknown;
  try {
    content = parser.parse(text, true);
  } catch (error) {
    throw malformed(error);
  }
  const list = partListSchema.safeParse(content);
  if (!list.success) throw malformed(list.error);
  const parts = list.data.CompleteMultipartUpload.Part.map(({ PartNumber, ETag }) => ({
    part: PartNumber,
    etag: unquoted(ETag),
  }));
  if (parts.some(({ part }, index) => part <= (parts[index - 1]?.part ?? 0))) {
    throw new S3Error('InvalidPartOrder', 'The list of parts was not in ascending order.');
  }
  return parts;
}
