import { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import { notFound } from '../../platform/errors.ts';
import type {
  ContextBody,
  ContextKey,
  ContextStore,
  StoredContext,
  StoredPart,
  UnusedUpload,
} from './context-store.ts';
import { isMissing, storeError } from './s3-store-error.ts';

export interface S3StoreSettings {
  endpoint: string;
  bucket: string;
  /** Stands before every name, with its slash. */
  prefix: string;
  region: string;
  /** Without them, what the SDK finds in the environment or on the machine. */
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
  pathStyle: boolean;
}

const CONNECT_MS = 5_000;
/** A store that moves nothing for so long is not there. */
const IDLE_MS = 60_000;
const UPLOAD_MS = 24 * 3600_000;
const USE_NOTED_MS = 6 * 3600_000;

/**
 * A store of others that speaks S3. Bytes go through as they come; a body that turns out wrong at its end was not sent whole, and
 * so never becomes an object. The SDK is loaded with the first one that is made, because it is large.
 */
export async function createS3ContextStore(settings: S3StoreSettings): Promise<ContextStore> {
  const s3 = await import('@aws-sdk/client-s3');
  const { endpoint, region, bucket: Bucket, accessKeyId, secretAccessKey } = settings;
  const client: S3Client = new s3.S3Client({
    endpoint,
    region,
    forcePathStyle: settings.pathStyle,
    // Many stores know no trailers; what clients say of their bytes has been checked when they arrive here.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // What matters of it is in the errors.
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: IDLE_MS },
    ...(accessKeyId !== undefined &&
      secretAccessKey !== undefined && { credentials: { accessKeyId, secretAccessKey } }),
  });
  const folderOf = (organizationId: string) => `${settings.prefix}${organizationId}/`;
  const nameOf = ({ organizationId, hash }: ContextKey) => `${folderOf(organizationId)}${hash}/context.tar`;
  const at = (key: ContextKey) => ({ Bucket, Key: nameOf(key) });

  async function look(key: ContextKey): Promise<StoredContext | undefined> {
    try {
      return storedOf(key, await client.send(new s3.HeadObjectCommand(at(key))));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw storeError(error);
    }
  }

  /** The store knows only when something was written, so it is written again where it lies. */
  async function noteUse(stored: StoredContext): Promise<StoredContext> {
    if (Date.now() - stored.usedAt.getTime() < USE_NOTED_MS) return stored;
    const source = { CopySource: `${Bucket}/${encodeURI(nameOf(stored))}`, MetadataDirective: 'REPLACE' as const };
    await client.send(new s3.CopyObjectCommand({ ...at(stored), ...source })).catch(() => {});
    return (await look(stored)) ?? stored;
  }

  async function existing(key: ContextKey): Promise<StoredContext> {
    const stored = await look(key);
    if (stored === undefined) throw notFound(`There is no context ${key.hash}`);
    return stored;
  }

  async function* objects(prefix: string): AsyncGenerator<StoredContext> {
    let token: string | undefined;
    do {
      const { Contents = [], ...page } = await asked(
        client.send(new s3.ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken: token })),
      );
      for (const { Key = '', Size, LastModified, ETag } of Contents) {
        const [organizationId, hash, file, ...more] = Key.slice(settings.prefix.length).split('/');
        if (organizationId === undefined || hash === undefined || file !== 'context.tar' || more.length > 0) continue;
        yield storedOf({ organizationId, hash }, { ContentLength: Size, LastModified, ETag });
      }
      token = goOn(page.IsTruncated, token, page.NextContinuationToken);
    } while (token !== undefined);
  }

  async function oldUploads(before: number): Promise<OldUpload[]> {
    const old: OldUpload[] = [];
    let marker: string | undefined;
    let idMarker: string | undefined;
    do {
      const page = await client.send(
        new s3.ListMultipartUploadsCommand({
          Bucket,
          Prefix: settings.prefix,
          KeyMarker: marker,
          UploadIdMarker: idMarker,
        }),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined || Initiated === undefined) continue;
        if (Initiated.getTime() < before) old.push({ Key, UploadId, since: Initiated });
      }
      const next = `${page.NextKeyMarker} ${page.NextUploadIdMarker}`;
      const hasMore = goOn(page.IsTruncated, `${marker} ${idMarker}`, next) !== undefined;
      marker = hasMore ? page.NextKeyMarker : undefined;
      idMarker = page.NextUploadIdMarker;
    } while (marker !== undefined);
    return old;
  }

  return {
    async put(key, body) {
      await sending(body, (Body, abortSignal) =>
        client.send(
          new s3.PutObjectCommand({ ...at(key), Body, ContentLength: body.size, ContentType: 'application/x-tar' }),
          { abortSignal },
        ),
      );
      return existing(key);
    },
    async find(key) {
      const stored = await look(key);
      return stored && (await noteUse(stored));
    },
    async read(key, range) {
      const stored = await noteUse(await existing(key));
      const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` };
      const { Body } = await client.send(new s3.GetObjectCommand({ ...at(key), ...Range })).catch((error: unknown) => {
        throw isMissing(error) ? notFound(`There is no context ${key.hash}`) : storeError(error);
      });
      if (!(Body instanceof Readable)) throw storeError(new Error('an answer without a body'));
      return { stored, stream: Body };
    },
    async list(organizationId) {
      const found: StoredContext[] = [];
      for await (const stored of objects(folderOf(organizationId))) found.push(stored);
      return found.sort((a, b) => (a.hash < b.hash ? -1 : 1));
    },
    remove: (key) => asked(client.send(new s3.DeleteObjectCommand(at(key)))).then(() => {}),
    async beginUpload(key) {
      const { UploadId } = await asked(
        client.send(new s3.CreateMultipartUploadCommand({ ...at(key), ContentType: 'application/x-tar' })),
      );
      if (UploadId === undefined) throw storeError(new Error('an upload without an id'));
      return UploadId;
    },
    async putPart(key, uploadId, part, body) {
      const { ETag = '' } = await sending(body, (Body, abortSignal) =>
        client.send(
          new s3.UploadPartCommand({
            ...at(key),
            UploadId: uploadId,
            PartNumber: part,
            Body,
            ContentLength: body.size,
          }),
          { abortSignal },
        ),
      );
      return { part, etag: bare(ETag), size: body.size, modifiedAt: new Date() };
    },
    async listParts(key, uploadId) {
      const parts: StoredPart[] = [];
      let marker: string | undefined;
      do {
        const { Parts = [], ...page } = await asked(
          client.send(new s3.ListPartsCommand({ ...at(key), UploadId: uploadId, PartNumberMarker: marker })),
        );
        for (const { PartNumber = 0, ETag = '', Size = 0, LastModified = new Date() } of Parts) {
          parts.push({ part: PartNumber, etag: bare(ETag), size: Size, modifiedAt: LastModified });
        }
        marker = goOn(page.IsTruncated, marker, page.NextPartNumberMarker);
      } while (marker !== undefined);
      return parts.sort((a, b) => a.part - b.part);
    },
    async completeUpload(key, uploadId, parts) {
      const Parts = parts.map(({ part, etag }) => ({ PartNumber: part, ETag: `"${etag}"` }));
      await asked(
        client.send(
          new s3.CompleteMultipartUploadCommand({ ...at(key), UploadId: uploadId, MultipartUpload: { Parts } }),
        ),
      );
      return existing(key);
    },
    async abortUpload(key, uploadId) {
      try {
        await client.send(new s3.AbortMultipartUploadCommand({ ...at(key), UploadId: uploadId }));
      } catch (error) {
        if (!isMissing(error)) throw storeError(error);
      }
    },
    async listUnused(now, unusedSince) {
      const unused = (await asked(oldUploads(now.getTime() - UPLOAD_MS))).map(unusedUpload);
      for await (const stored of objects(settings.prefix)) {
        if (stored.usedAt < unusedSince) unused.push(unusedContext(stored));
      }
      return unused;
    },
    async sweep(now, unusedSince) {
      const uploads = await asked(oldUploads(now.getTime() - UPLOAD_MS));
      for (const { Key, UploadId } of uploads) {
        await asked(client.send(new s3.AbortMultipartUploadCommand({ Bucket, Key, UploadId })));
      }
      const swept = uploads.map(unusedUpload);
      for await (const stored of objects(settings.prefix)) {
        if (stored.usedAt >= unusedSince) continue;
        await asked(client.send(new s3.DeleteObjectCommand(at(stored))));
        swept.push(unusedContext(stored));
      }
      return swept;
    },
  };
}

interface OldUpload {
  Key: string;
  UploadId: string;
  since: Date;
}

const unusedUpload = ({ UploadId, since }: OldUpload): UnusedUpload => ({
  kind: 'upload',
  id: UploadId,
  organizationId: undefined,
  size: undefined,
  since,
});

const unusedContext = ({ hash, organizationId, size, usedAt }: StoredContext): UnusedUpload => ({
  kind: 'context',
  id: hash,
  organizationId,
  size,
  since: usedAt,
});

interface Described {
  ContentLength?: number | undefined;
  LastModified?: Date | undefined;
  ETag?: string | undefined;
}

function storedOf(key: ContextKey, { ContentLength = 0, LastModified = new Date(0), ETag = '' }: Described) {
  return { ...key, size: ContentLength, modifiedAt: LastModified, usedAt: LastModified, etag: bare(ETag) };
}

/** The SDK does not hear of an error of the stream that it sends; without being told it would wait for the rest. */
async function sending<T>(
  body: ContextBody,
  send: (stream: Readable | string, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const cut = new AbortController();
  let failure: unknown;
  body.stream.once('error', (error) => {
    failure = error;
    cut.abort();
  });
  try {
    // Nothing to hold back until the end: that it is right must be known before.
    if (body.size === 0) for await (const _ of body.stream) break;
    return await send(body.size === 0 ? '' : body.stream, cut.signal);
  } catch (error) {
    throw failure ?? storeError(error);
  } finally {
    body.stream.destroy();
  }
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw storeError(error);
  }
}

/** Where the next page begins. Some stores name one behind the last, or the same again; the SDK's own paging never ends with them. */
function goOn(isTruncated: boolean | undefined, here: string | undefined, next: string | undefined) {
  return isTruncated === true && next !== here ? next : undefined;
}

const bare = (etag: string) => etag.replaceAll('"', '');
