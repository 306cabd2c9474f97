import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { uploadLikeCli } from '../support/minio-client.ts';

/** The requests of the official CLI's `snapshot create -f`, in its order and with its timing. */
let darkroom: Darkroom;
let workspace: string;

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'darkroom-cli-'));
  await mkdir(join(workspace, 'deep'));
  await writeFile(join(workspace, 'hello.sh'), '#!/bin/sh\necho hello\n', { mode: 0o755 });
  await writeFile(join(workspace, 'deep', 'large'), Buffer.alloc(300_000, 'large '));
  darkroom = await startDarkroom({ config: { registries: { mirrors: { 'docker.io': [inject('registryUrl')] } } } });
});

afterAll(async () => {
  await darkroom?.destroy();
  await rm(workspace, { recursive: true, force: true });
});

interface Snapshot {
  id: string;
  state: string;
  errorReason: string | null;
}

/** What the CLI shows: the log that it saw, and the state or the reason at the end. */
async function createLikeCli(name: string, dockerfileContent: string, contextHashes: string[]) {
  const made = await darkroom.api('/snapshots', {
    method: 'POST',
    body: { name, buildInfo: { dockerfileContent, contextHashes } },
  });
  expect(made.status, await made.clone().text()).toBe(200);
  const { id, state } = await jsonOf<Snapshot>(made);
  expect(state).toBe('building');

  const stopped = new AbortController();
  const log = { text: '' };
  const streamed = readLog(id, log, stopped.signal);
  const states: string[] = [];
  let snapshot: Snapshot;
  // It looks at once and then each second, and stops reading the log a moment after the build is over.
  for (;;) {
    snapshot = await jsonOf<Snapshot>(darkroom.api(`/snapshots/${encodeURIComponent(name)}`));
    states.push(snapshot.state);
    if (snapshot.state === 'error' || snapshot.state === 'build_failed') break;
    if (['pending', 'pulling', 'active', 'inactive'].includes(snapshot.state)) break;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  await Promise.race([streamed, new Promise((resolve) => setTimeout(resolve, 250))]);
  stopped.abort();
  const status = await streamed;
  return { states, log: log.text, status, snapshot };
}

async function readLog(id: string, log: { text: string }, signal: AbortSignal): Promise<number> {
  const answer = await fetch(`${darkroom.url}/api/snapshots/${id}/build-logs?follow=true`, {
    headers: { authorization: `Bearer ${darkroom.apiKey}`, accept: 'application/octet-stream' },
    signal,
  });
  const decoder = new TextDecoder();
  try {
    for await (const chunk of answer.body ?? []) log.text += decoder.decode(chunk, { stream: true });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return answer.status;
}

test('a directory is uploaded, built with its log on the screen, and used', async () => {
  const hash = await uploadLikeCli(darkroom, workspace);
  const dockerfile = [
    `FROM ${inject('baseImage')}`,
    'COPY . /app',
    'RUN /app/hello.sh; for i in 1 2 3 4; do echo line $i; sleep 0.3; done',
    'RUN wc -c < /app/deep/large',
    '',
  ];
  const { states, log, status, snapshot } = await createLikeCli('cli/built:1', dockerfile.join('\n'), [hash]);
  expect(states[0]).toBe('building');
  expect(snapshot).toMatchObject({ state: 'active', errorReason: null });
  expect(status).toBe(200);
  const said = log.split('\n').filter((line) => /(hello|line \d|300000)$/.test(line) && !line.includes('RUN'));
  expect(said.map((line) => /(hello|line \d|300000)$/.exec(line)?.[1])).toEqual([
    ...['hello', 'line 1', 'line 2', 'line 3', 'line 4', '300000'],
  ]);
  // By its name, as `snapshot delete NAME` does: looked up, then deleted by id.
  const { id } = await jsonOf<Snapshot>(darkroom.api(`/snapshots/${encodeURIComponent('cli/built:1')}`));
  expect((await darkroom.api(`/snapshots/${id}`, { method: 'DELETE' })).status).toBe(200);
});

test('a build that fails shows its last words in the log and the reason at the end', async () => {
  const dockerfile = `FROM ${inject('baseImage')}\nRUN sleep 0.5; echo the last words; exit 3\n`;
  const { states, log, snapshot } = await createLikeCli('cli/fails:1', dockerfile, []);
  expect(states[0]).toBe('building');
  expect(['error', 'build_failed']).toContain(snapshot.state);
  for (const said of ['the last words', 'exit 3', '3']) expect(snapshot.errorReason).toContain(said);
  expect(log).toMatch(/the last words\n/);
});

test('a context that was never uploaded is refused at once, by its hash', async () => {
  const hash = 'f'.repeat(64);
  const answer = await darkroom.api('/snapshots', {
    method: 'POST',
    body: {
      name: 'cli/missing:1',
      buildInfo: { dockerfileContent: `FROM ${inject('baseImage')}\nCOPY . /\n`, contextHashes: [hash] },
    },
  });
  expect(answer.status).toBe(400);
  expect((await jsonOf<{ message: string }>(answer)).message).toContain(hash);
});

test('an image of a registry has no log of a build', async () => {
  const { id } = await jsonOf<Snapshot>(
    darkroom.api('/snapshots', { method: 'POST', body: { name: 'cli/pulled:1', imageName: inject('baseImage') } }),
  );
  const answer = await darkroom.api(`/snapshots/${id}/build-logs-url`);
  expect(answer.status).toBe(404);
  expect((await jsonOf<{ message: string }>(answer)).message).toContain('has no build info');
});
