import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { BuildLogLineDto } from '@darkroom/contract';
import { run } from '../platform/process.ts';
import type { HttpClient } from './http-client.ts';
import { fillWithBusybox } from './root-file-system.ts';
import type { TestServer } from './test-server.ts';

const CONTEXT = 'b'.repeat(32);

/** Begins every Dockerfile of these tests: a busybox root out of an upload, so that no registry is needed. */
const BASE = 'FROM scratch\nCOPY . /\n';

/** What tests of builds ask of a server, as one organization. */
export interface BuildClient {
  /** `buildInfo` of these steps over a busybox root. */
  info(steps: readonly string[], more?: object): object;
  /** The id of a new snapshot; the answer must be `building`. */
  create(name: string, steps: readonly string[], more?: object): Promise<string>;
  /** Lines as they come; ends with the stream. */
  follow(path: string): AsyncGenerator<BuildLogLineDto>;
  /** Resolves with the lines until one has this text. */
  until(path: string, text: string): Promise<BuildLogLineDto[]>;
  /** The whole log, to the end of the build. */
  log(path: string): Promise<string[]>;
}

export async function buildClient(
  server: TestServer,
  client: HttpClient,
  organizationId: string,
): Promise<BuildClient> {
  const tar = await busyboxTar();
  await server.contexts.put({ organizationId, hash: CONTEXT }, { stream: Readable.from([tar]), size: tar.length });
  const info = (steps: readonly string[], more: object = {}) => ({
    dockerfileContent: `${BASE}${steps.join('\n')}\n`,
    contextHashes: [CONTEXT],
    ...more,
  });

  async function* follow(path: string): AsyncGenerator<BuildLogLineDto> {
    const answer = await client.send('GET', `${path}/build-logs?follow=true&format=jsonl`);
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of answer.body ?? []) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield JSON.parse(line);
    }
  }

  return {
    info,
    async create(name, steps, more) {
      const { status, body } = await client.post('/api/snapshots', { name, buildInfo: info(steps, more) });
      if (status !== 200 || body.state !== 'building') throw new Error(`${status} ${JSON.stringify(body)}`);
      return body.id;
    },
    follow,
    async until(path, text) {
      const lines: BuildLogLineDto[] = [];
      for await (const line of follow(path)) {
        lines.push(line);
        if (line.text === text) return lines;
      }
      throw new Error(`it never said ${text}: ${lines.map((line) => line.text).join('\n')}`);
    },
    async log(path) {
      const lines: string[] = [];
      for await (const { text } of follow(path)) lines.push(text);
      return lines;
    },
  };
}

async function busyboxTar(): Promise<Buffer> {
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-busybox-'));
  try {
    await fillWithBusybox(join(directory));
    const path = join(tmpdir(), `${directory.slice(directory.lastIndexOf('/') + 1)}.tar`);
    await run('tar', ['-C', directory, '-cf', path, '.'], { timeoutMs: 30_000 });
    try {
      return await readFile(path);
    } finally {
      await rm(path, { force: true });
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
