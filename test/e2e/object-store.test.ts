import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { boundedContextStore } from '../../packages/server/src/builds/contexts/bounded-context-store.ts';
import { createS3ContextStore } from '../../packages/server/src/builds/contexts/s3-context-store.ts';
import { contextStoreSuite } from '../../packages/server/src/builds/contexts/testing/context-store-suite.ts';
import { run } from '../../packages/server/src/platform/process.ts';
import { startDarkroom } from '../support/darkroom.ts';
import { type Moto, startMoto } from '../support/moto.ts';

/** Contexts in an S3-compatible store that is not ours. */
let moto: Moto;
let workspace: string;

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'darkroom-object-store-'));
  moto = await startMoto();
});
afterAll(async () => {
  await moto?.stop();
  await rm(workspace, { recursive: true, force: true });
});

const settings = (prefix: string) => ({
  endpoint: moto.url,
  bucket: moto.bucket,
  prefix,
  region: 'us-east-1',
  accessKeyId: 'key',
  secretAccessKey: 'secret',
  pathStyle: true,
});

describe('as every store', () => {
  const limits = { maxBytes: 2 ** 30, maxTotalBytes: 2 ** 30 };
  const open = async () => boundedContextStore(await createS3ContextStore(settings('suite/')), limits);
  contextStoreSuite({ open, partBytes: 5 * 1024 * 1024, knowsAgeOfUploads: false });
});

test('a body that is wrong only at its end never becomes an object', async () => {
  const store = await createS3ContextStore(settings('wrong/'));
  const key = { organizationId: crypto.randomUUID(), hash: 'b'.repeat(64) };
  const stream = Readable.from(
    (async function* () {
      yield randomBytes(1024 * 1024);
      throw new Error('the checksum is another');
    })(),
  );
  await expect(store.put(key, { stream, size: 1024 * 1024 + 1 })).rejects.toThrow('the checksum is another');
  expect(await store.find(key)).toBeUndefined();
});

test('a store that is away is said to be, without its keys', async () => {
  const store = await createS3ContextStore({ ...settings('x/'), bucket: 'not-there' });
  const key = { organizationId: crypto.randomUUID(), hash: 'b'.repeat(64) };
  const failure = await store.list(key.organizationId).catch((error: unknown) => error);
  expect(failure).toMatchObject({
    code: 'unavailable',
    message: 'The object store does not do its work (NoSuchBucket)',
  });
});

test('what the SDK uploads to a server with such a store is there, and only there', { timeout: 120_000 }, async () => {
  const { prefix, ...rest } = settings('contexts/');
  const darkroom = await startDarkroom({
    config: { objectStore: rest, registries: { mirrors: { 'docker.io': [inject('registryUrl')] } } },
  });
  try {
    const directory = await mkdtemp(join(workspace, 'files-'));
    await writeFile(join(directory, 'random.bin'), randomBytes(12 * 1024 * 1024));
    const script = join(import.meta.dirname, '..', 'support', 'upload-with-sdk.ts');
    const env = { ...process.env, DAYTONA_API_URL: `${darkroom.url}/api`, DAYTONA_API_KEY: darkroom.apiKey };
    const said = await run(process.execPath, [script, 'newest', directory], { timeoutMs: 60_000, env });
    const Prefix = `${prefix}${darkroom.organizationId}/`;
    const { Contents } = await moto.client.send(new ListObjectsV2Command({ Bucket: moto.bucket, Prefix }));
    expect(Contents, said.stdout).toHaveLength(1);
    expect(Contents?.[0]?.Size).toBeGreaterThan(12 * 1024 * 1024);
    const { Uploads } = await moto.client.send(new ListMultipartUploadsCommand({ Bucket: moto.bucket, Prefix }));
    expect(Uploads ?? []).toEqual([]);
  } finally {
    await darkroom.destroy();
  }
});
