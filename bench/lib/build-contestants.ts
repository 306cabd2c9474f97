import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { signedHead } from '../../packages/server/src/http/s3/testing/raw-client.ts';
import { run } from '../../packages/server/src/platform/process.ts';
import { type Darkroom, jsonOf } from '../../test/support/darkroom.ts';
import { buildSnapshot, createSandbox, deleteSandbox, execute } from './darkroom.ts';
import type { Docker, Podman } from './peers.ts';

export interface BuildContestant {
  name: string;
  /** Sends the context, where that is a matter of its own; the others take it along when they build. */
  sendContext(directory: string): Promise<void>;
  /** Until the image can be used. */
  build(tag: string, dockerfile: string, context: string | undefined): Promise<void>;
  /** Milliseconds until the first output of a command in it. */
  toFirstOutput(tag: string): Promise<number>;
}

const COMMAND = 'echo hi';
const BUILD_MS = 300_000;

export function darkroomContestant(darkroom: Darkroom, workspace: string): BuildContestant {
  let contextHash: string | undefined;
  return {
    name: 'Darkroom',
    async sendContext(directory) {
      contextHash = crypto.randomUUID().replaceAll('-', '');
      await upload(darkroom, directory, contextHash, join(workspace, 'context.tar'));
    },
    build: (tag, dockerfile, context) =>
      buildSnapshot(darkroom, tag, dockerfile, context === undefined || !contextHash ? [] : [contextHash]),
    async toFirstOutput(tag) {
      const started = performance.now();
      const { id } = await createSandbox(darkroom, tag);
      if ((await execute(darkroom, id, COMMAND)).trim() !== 'hi') throw new Error('the command did not say hi');
      const sample = performance.now() - started;
      await deleteSandbox(darkroom, id);
      return sample;
    },
  };
}

export function dockerContestant({ docker, toFirstOutput }: Docker, workspace: string): BuildContestant {
  return {
    name: 'docker',
    sendContext: async () => {},
    async build(tag, dockerfile, context) {
      const { file, directory } = await inputs(workspace, dockerfile, context);
      await docker('build', '--quiet', '--tag', tag, '--file', file, directory);
    },
    toFirstOutput: (tag) => toFirstOutput('run', '--rm', tag, 'sh', '-c', COMMAND),
  };
}

export function buildahContestant({ storage, toFirstOutput }: Podman, workspace: string): BuildContestant {
  return {
    name: 'buildah',
    sendContext: async () => {},
    async build(tag, dockerfile, context) {
      const { file, directory } = await inputs(workspace, dockerfile, context);
      const options = ['--layers', '--quiet', '--tls-verify=false', '--tag', tag, '--file', file];
      await run('buildah', [...storage, 'bud', ...options, directory], { timeoutMs: BUILD_MS });
    },
    toFirstOutput: (tag) => toFirstOutput('run', '--rm', tag, 'sh', '-c', COMMAND),
  };
}

async function inputs(workspace: string, dockerfile: string, context: string | undefined) {
  const file = join(workspace, 'Dockerfile');
  await writeFile(file, dockerfile);
  const directory = context ?? join(workspace, 'no-context');
  await mkdir(directory, { recursive: true });
  return { file, directory };
}

/** As a tar in one signed request, which is what a client does after it has packed its files. */
async function upload(darkroom: Darkroom, directory: string, hash: string, tar: string): Promise<void> {
  await run('tar', ['-cf', tar, '-C', directory, '.'], { timeoutMs: BUILD_MS });
  const access = await jsonOf<{ bucket: string; accessKey: string; secret: string; sessionToken: string }>(
    darkroom.api('/object-storage/push-access'),
  );
  const path = `/${access.bucket}/${darkroom.organizationId}/${hash}/context.tar`;
  const { headers } = signedHead(darkroom.url, access, { method: 'PUT', path, payload: 'UNSIGNED-PAYLOAD' });
  const sent = request(new URL(path, darkroom.url), {
    method: 'PUT',
    headers: { ...headers, 'content-length': String((await stat(tar)).size) },
    agent: false,
  });
  const answered = once(sent, 'response');
  await pipeline(createReadStream(tar, { highWaterMark: 1 << 20 }), sent);
  const [answer]: IncomingMessage[] = await answered;
  const text = (await answer?.setEncoding('utf8').toArray())?.join('');
  if (answer?.statusCode !== 200) throw new Error(`the upload was answered with ${answer?.statusCode} ${text}`);
  await rm(tar);
}
