import { randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { z } from 'zod';
import { signedHead } from '../../packages/server/src/http/s3/testing/raw-client.ts';
import { run } from '../../packages/server/src/platform/process.ts';
import { type Darkroom, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { pythonSdkVersions, pythonWithSdk } from '../support/python-sdk.ts';

/** Directories go up by the official SDKs, unmodified, over http and over https with the CA that `--tls` makes. */
let workspace: string;
let plain: Darkroom;
let secure: Darkroom;

const caOf = (darkroom: Darkroom) => join(darkroom.stateDir, 'tls', 'ca.crt');
const accessSchema = z.object({
  accessKey: z.string(),
  secret: z.string(),
  sessionToken: z.string(),
  storageUrl: z.string(),
  bucket: z.string(),
  region: z.string(),
});

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'darkroom-uploads-'));
  const registries = { mirrors: { 'docker.io': [inject('registryUrl')] } };
  plain = await startDarkroom({ config: { registries } });
  secure = await startDarkroom({ config: { registries }, flags: ['--tls'] });
});

afterAll(async () => {
  await plain?.destroy();
  await secure?.destroy();
  await rm(workspace, { recursive: true, force: true });
});

/** Larger than one part of any client. */
async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(workspace, 'files-'));
  await mkdir(join(directory, 'deep'));
  await writeFile(join(directory, 'deep', 'große.txt'), 'hello\n');
  await writeFile(join(directory, 'random.bin'), randomBytes(12 * 1024 * 1024));
  return directory;
}

async function clientOf(darkroom: Darkroom): Promise<{ client: S3Client; access: z.infer<typeof accessSchema> }> {
  const access = accessSchema.parse(await askPushAccess(darkroom));
  const tls = darkroom.url.startsWith('https:') ? { ca: await readFile(caOf(darkroom)) } : {};
  const client = new S3Client({
    endpoint: access.storageUrl,
    region: access.region,
    forcePathStyle: true,
    requestHandler: { httpsAgent: tls },
    credentials: {
      accessKeyId: access.accessKey,
      secretAccessKey: access.secret,
      sessionToken: access.sessionToken,
    },
  });
  return { client, access };
}

/** All contexts that the server has, by name: bytes of tars. */
async function contextsOf(darkroom: Darkroom): Promise<Map<string, Buffer>> {
  const { client, access } = await clientOf(darkroom);
  const Bucket = access.bucket;
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: darkroom.organizationId }));
  const contexts = new Map<string, Buffer>();
  for (const { Key = '' } of Contents) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
    contexts.set(Key, Buffer.from((await Body?.transformToByteArray()) ?? []));
  }
  return contexts;
}

async function askPushAccess(darkroom: Darkroom): Promise<unknown> {
  if (darkroom === plain) return (await darkroom.api('/object-storage/push-access')).json();
  const ca = await readFile(caOf(darkroom));
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const headers = { authorization: `Bearer ${darkroom.apiKey}` };
  get(`${darkroom.url}/api/object-storage/push-access`, { ca, headers }, (answer) => {
    answer.toArray().then((chunks) => resolve(Buffer.concat(chunks).toString()), reject);
  }).on('error', reject);
  return JSON.parse(await promise);
}

/** What is new since `before` has, unpacked, just the files of the directory. */
async function expectUploaded(darkroom: Darkroom, before: Map<string, Buffer>, directories: string[]): Promise<void> {
  const added = [...(await contextsOf(darkroom))].filter(([name]) => !before.has(name));
  expect(added).toHaveLength(directories.length);
  const unpacked = await mkdtemp(join(workspace, 'unpacked-'));
  for (const [name, tar] of added) {
    expect(name).toMatch(new RegExp(`^${darkroom.organizationId}/[0-9a-f]{32}/context\\.tar$`));
    const file = join(workspace, 'context.tar');
    await writeFile(file, tar);
    await run('tar', ['-xf', file, '-C', unpacked], { timeoutMs: 30_000 });
  }
  for (const directory of directories) {
    const { stdout } = await run('diff', ['-r', directory, join(unpacked, directory)], { timeoutMs: 30_000 });
    expect(stdout).toBe('');
  }
}

const environmentOf = (darkroom: Darkroom) => ({
  ...process.env,
  DAYTONA_API_URL: `${darkroom.url}/api`,
  DAYTONA_API_KEY: darkroom.apiKey,
});

describe.each(['oldest', 'legacy', 'newest'])('the TypeScript SDK, %s', (sdk) => {
  test.each(['http', 'https'])('uploads a directory over %s', async (protocol) => {
    const darkroom = protocol === 'http' ? plain : secure;
    expect(darkroom.url).toContain(`${protocol}://`);
    const before = await contextsOf(darkroom);
    const directory = await newDirectory();
    const script = join(import.meta.dirname, '..', 'support', 'upload-with-sdk.ts');
    const env = { ...environmentOf(darkroom), ...(protocol === 'https' && { NODE_EXTRA_CA_CERTS: caOf(darkroom) }) };
    const { stdout } = await run(process.execPath, [script, sdk, directory], { timeoutMs: 60_000, env });
    await expectUploaded(darkroom, before, [directory]).catch((error: unknown) => {
      throw new Error(`the SDK said: ${stdout}`, { cause: error });
    });
  });
});

describe.each(pythonSdkVersions)('the Python SDK %s', (version) => {
  test('uploads directories over https, sync and async', async () => {
    const python = await pythonWithSdk(version);
    const before = await contextsOf(secure);
    const directories = [await newDirectory(), await newDirectory()];
    // As after `update-ca-certificates`, for this process alone: it looks at the machine's bundle and at no variable.
    const bundle = join(workspace, 'bundle.crt');
    const system = '/etc/ssl/certs/ca-certificates.crt';
    await cp(system, bundle);
    await writeFile(bundle, await readFile(caOf(secure)), { flag: 'a' });
    const script = join(import.meta.dirname, '..', 'support', 'upload.py');
    const command = `mount --bind "$0" ${system} && exec "$@"`;
    const { stdout } = await run('unshare', ['--mount', 'sh', '-c', command, bundle, python, script, ...directories], {
      timeoutMs: 90_000,
      env: { ...environmentOf(secure), SSL_CERT_FILE: system },
    });
    await expectUploaded(secure, before, directories);
    const hashes = stdout.trim().split('\n');
    const names = [...(await contextsOf(secure)).keys()];
    for (const hash of hashes) expect(names).toContain(`${secure.organizationId}/${hash}/context.tar`);
  });
});

test('the server says how its CA is trusted, and keeps both over a restart', async () => {
  expect(secure.output()).toContain(`NODE_EXTRA_CA_CERTS=${caOf(secure)}`);
  expect(secure.output()).toContain('update-ca-certificates');
  const ca = await readFile(caOf(secure), 'utf8');
  const before = await contextsOf(secure);
  await secure.kill();
  await secure.restart();
  expect(await readFile(caOf(secure), 'utf8')).toBe(ca);
  expect([...(await contextsOf(secure)).keys()]).toEqual([...before.keys()]);
});

test('a server that is killed goes on with uploads in parts, and keeps nothing of others', async () => {
  const { client, access } = await clientOf(plain);
  const at = (letter: string) => ({
    Bucket: access.bucket,
    Key: `${plain.organizationId}/${letter.repeat(32)}/context.tar`,
  });
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(at('a')));
  const part = async (PartNumber: number, Body: string) => {
    const { ETag } = await client.send(new UploadPartCommand({ ...at('a'), UploadId, PartNumber, Body }));
    return { PartNumber, ETag };
  };
  const one = await part(1, 'before ');
  const wanted = { method: 'PUT', path: `/${access.bucket}/${at('b').Key}`, payload: 'UNSIGNED-PAYLOAD' };
  const { headers } = signedHead(plain.url, access, wanted);
  const half = request(new URL(wanted.path, plain.url), {
    method: 'PUT',
    headers: { ...headers, 'content-length': '200000' },
  });
  half.on('error', () => {});
  half.write(Buffer.alloc(100_000));
  const uploads = join(plain.stateDir, 'pool', 'contexts', 'uploads');
  const drafts = async () => (await readdir(uploads)).filter((name) => name.endsWith('.draft'));
  await eventually('the upload has begun', async () => ((await drafts()).length > 0 ? true : undefined));

  await plain.kill();
  await plain.restart();
  expect(await drafts()).toEqual([]);
  // What was given out before holds: nothing of it was in memory alone.
  const two = await part(2, 'and after');
  const MultipartUpload = { Parts: [one, two] };
  await client.send(new CompleteMultipartUploadCommand({ ...at('a'), UploadId, MultipartUpload }));
  const contexts = await contextsOf(plain);
  expect(String(contexts.get(at('a').Key))).toBe('before and after');
  expect(contexts.has(at('b').Key)).toBe(false);
});
