import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { makeTar } from '../../../../packages/server/src/images/testing/test-image.ts';
import { Unanswered, Violation } from '../../requests.ts';
import type { Operation, Operations } from '../operation.ts';
import { sha256, type World } from '../world.ts';
import { newContext } from './builds.ts';

async function storeOf(world: World) {
  const access = (await world.requests.api('/object-storage/push-access')).json();
  const client = new S3Client({
    endpoint: access.storageUrl,
    region: access.region ?? 'us-east-1',
    forcePathStyle: true,
    // What was not answered is asked again by the test alone.
    maxAttempts: 1,
    credentials: { accessKeyId: access.accessKey, secretAccessKey: access.secret, sessionToken: access.sessionToken },
  });
  const { hash, content } = newContext();
  const archive = makeTar({ file: content });
  return { client, place: { Bucket: access.bucket, Key: `${access.organizationId}/${hash}/context.tar` }, archive };
}

type Store = Awaited<ReturnType<typeof storeOf>>;

/** Raises `Unanswered` where the connection broke, since the server is killed within. */
async function asked<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Error && '$metadata' in error && error.name !== 'TimeoutError') {
      const { httpStatusCode } = Object(error.$metadata);
      if (httpStatusCode !== undefined) throw new Violation(`the store answered ${httpStatusCode}: ${error.message}`);
    }
    throw new Unanswered(String(error));
  }
}

/** The whole archive, or none. */
async function isThere({ client, place, archive }: Store): Promise<boolean> {
  try {
    const { Body } = await client.send(new GetObjectCommand(place));
    const found = sha256(Buffer.from((await Body?.transformToByteArray()) ?? []));
    if (found !== sha256(archive)) throw new Violation('an upload is not what was sent');
    return true;
  } catch (error) {
    if (error instanceof Error && error.name === 'NoSuchKey') return false;
    throw error;
  }
}

const put: Operation = async (world, strike) => {
  const store = await storeOf(world);
  const send = () => asked(store.client.send(new PutObjectCommand({ ...store.place, Body: store.archive })));
  const answered = await strike(send);
  const there = await isThere(store);
  if (answered !== undefined && !there) throw new Violation('an upload that was answered is lost');
  if (!there) await send();
  if (!(await isThere(store))) throw new Violation('an upload is lost');
  store.client.destroy();
};

/** In two parts. What was answered of them is kept, and the upload goes on with the next server. */
const inParts: Operation = async (world, strike) => {
  const store = await storeOf(world);
  const { client, place, archive } = store;
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(place));
  const half = archive.length >> 1;
  const pieces = [archive.subarray(0, half), archive.subarray(half)];
  const sendPart = async (index: number) => {
    const part = { ...place, UploadId, PartNumber: index + 1, Body: pieces[index] };
    const { ETag } = await asked(client.send(new UploadPartCommand(part)));
    return { ETag, PartNumber: index + 1 };
  };
  const complete = (Parts: Awaited<ReturnType<typeof sendPart>>[]) =>
    asked(client.send(new CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload: { Parts } })));
  const first = await sendPart(0);
  let second: typeof first | undefined;
  const answered = await strike(async () => {
    second = await sendPart(1);
    return complete([first, second]);
  });
  const there = await isThere(store);
  if (answered !== undefined && !there) throw new Violation('an upload that was answered is lost');
  // Who was not answered asks again, as every client does; else the parts stay for a day.
  if (answered === undefined) await complete([first, second ?? (await sendPart(1))]);
  if (!(await isThere(store))) throw new Violation('an upload is lost');
  client.destroy();
};

export const uploads = {
  'upload.spooled': put,
  'upload.renamed': put,
  'upload.stored': put,
  'upload.part-written': inParts,
  'upload.joined': inParts,
  'upload.completed': inParts,
} satisfies Operations;
