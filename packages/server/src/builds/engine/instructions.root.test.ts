import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGitFixture } from '../files/testing/git-fixture.ts';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
let server: Server;
let requests: string[] = [];
let url: string;
beforeAll(async () => {
  lab = await createBuildLab();
  server = createServer((request, response) => {
    requests.push(request.url ?? '');
    response.end(`content of ${request.url}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  url = `http://127.0.0.1:${address === null || typeof address === 'string' ? 0 : address.port}`;
}, 60_000);
afterAll(async () => {
  await lab.close();
  server.close();
});

const lines = (...text: string[]) => text.join('\n');

test('heredocs are scripts, programs, input of commands, and files', async () => {
  const { events, read } = await lab.build(
    lines(
      'FROM base',
      'ARG WORD=arg',
      'RUN <<EOF',
      'echo "first $WORD"',
      'echo second',
      'EOF',
      'RUN <<EOF',
      '#!/bin/sh',
      'echo "$0 runs"',
      'EOF',
      'RUN cat <<A - <<"B" && cat <<C > /c',
      'a $WORD',
      'A',
      'b $WORD',
      'B',
      'c',
      'C',
      'COPY <<one <<"two" /files/',
      '1 $WORD',
      'one',
      '2 $WORD',
      'two',
    ),
  );
  expect(events.steps.map(({ output }) => output).filter((output) => output !== '')).toEqual([
    'first arg\nsecond\n',
    '/dev/pipes/EOF runs\n',
    'b $WORD\n',
  ]);
  expect(await read('cat c files/one files/two; ls dev')).toBe('c\n1 arg\n2 $WORD\n');
});

test('ADD fetches, and what a checksum says is not fetched for the key', async () => {
  const sha256 = '5a0df9d5fbce3b3f9ec9d3e5ac4db0b0fd3ab8a8b3e1e8a0b26a5dbb10dc39ac';
  const wrong = await lab.fail(`FROM base\nADD --checksum=sha256:${sha256} ${url}/wrong /`);
  expect(wrong.failure).toMatchObject({ class: 'user', step: { line: 2 } });
  const right = /its checksum is (sha256:[0-9a-f]{64})/.exec(wrong.failure.message)?.[1] ?? '';
  const text = lines('FROM base', `ADD ${url}/plain /plain/`, `ADD --checksum=${right} ${url}/wrong /checked`);
  const { read } = await lab.build(text);
  expect(await read('cat plain/plain checked; stat -c %a checked')).toBe('content of /plaincontent of /wrong600\n');
  requests = [];
  const again = await lab.build(text);
  expect(again.events.use('ADD --checksum')).toBe('hit');
  expect(requests).toEqual(['/plain']);
  const { failure } = await lab.fail('FROM base\nADD http://user:canary@127.0.0.1:1/x /x');
  expect(failure).toMatchObject({ class: 'network', retryable: true });
  expect(JSON.stringify([failure.message, failure.hint, failure.step?.command])).not.toContain('canary');
});

test('without a context there is the Dockerfile alone', async () => {
  const { read } = await lab.build('FROM scratch\nCOPY . /');
  expect(await read('ls -A; cat Dockerfile')).toBe('Dockerfile\nFROM scratch\nCOPY . /');
});

test('a context’s own Dockerfile gives way to the text that is built', async () => {
  const text = 'FROM base\nCOPY . /c';
  const context = { Dockerfile: 'another', file: 'x' };
  const { read } = await lab.build(text, { context });
  expect(await read('cat c/Dockerfile')).toBe(text);
  expect((await lab.build(text, { context: { ...context, Dockerfile: 'a third' } })).events.use('COPY')).toBe('hit');
});

test('what of a context is not copied does not count', async () => {
  const text = 'FROM base\nCOPY *.txt /c/';
  await lab.build(text, { context: { 'a.txt': 'a', other: '1' } });
  expect((await lab.build(text, { context: { 'a.txt': 'a', other: '2' } })).events.use('COPY')).toBe('hit');
});

test('a step has the network that it asks for', async () => {
  const { events } = await lab.build(
    'FROM base\nRUN ip link | grep -c eth0\nRUN --network=none ip link | grep -c eth0; true',
  );
  expect(events.steps.map(({ output }) => output)).toEqual(['', '1\n', '0\n']);
});

test('proxies can be given without an ARG, and are no part of the key', async () => {
  const text = 'FROM base\nRUN echo "$HTTP_PROXY"';
  expect((await lab.build(text, { buildArgs: { HTTP_PROXY: 'http://one' } })).events.output('RUN')).toBe(
    'http://one\n',
  );
  const { events, image } = await lab.build(text, { buildArgs: { HTTP_PROXY: 'http://two' } });
  expect(events.use('RUN')).toBe('hit');
  expect(image.config.env.join()).not.toContain('PROXY');
});

test('a working directory that is missing is made, of the user by WORKDIR and of root by RUN', async () => {
  const { read } = await lab.build(
    lines('FROM base', 'USER app', 'WORKDIR /a/b', 'USER root', 'RUN rm -r /a', 'RUN true', 'USER app', 'WORKDIR /c/d'),
  );
  expect(await read('stat -c "%n %u %a" a a/b c c/d')).toBe(
    lines('a 1000000000 755', 'a/b 1000000000 755', 'c 1000001000 755', 'c/d 1000001000 755', ''),
  );
});

test('what a step deletes is gone, and what it replaces is replaced', async () => {
  const { read, image } = await lab.build(
    lines(
      'FROM base',
      'RUN mkdir -p /d/e && echo 1 > /d/e/f && echo 1 > /d/g && chmod 700 /d',
      'RUN rm -r /d/e && mkdir /d/e && echo 2 > /d/e/h && chmod 1755 /',
      'RUN chmod 755 /',
    ),
  );
  expect(await read('ls d/e; cat d/e/h d/g; stat -c %a d .')).toBe('h\n2\n1\n700\n755\n');
  // A mode of the root alone is a change, too.
  expect(image.layers).toHaveLength(4);
});

test('a check finds what cannot be built before anything is looked up', () => {
  const check = (dockerfile: string, target?: string) => () =>
    lab.engine.check({ dockerfile, target, buildArgs: new Map() });
  expect(check('FROM base\nRUN x')).not.toThrow();
  expect(check('FROM base\nRNU x')).toThrow('Dockerfile line 2: unknown instruction: RNU');
  expect(check('FROM base', 'missing')).toThrow('The Dockerfile has no stage missing');
  expect(check('FROM BASE:x:y')).toThrow('Dockerfile line 1:');
});

test('no file of an image belongs to somebody outside of it', async () => {
  const context = { file: 'x' };
  for (const owner of ['3000000000', '1:1000000000']) {
    const { failure } = await lab.fail(`FROM base\nCOPY --chown=${owner} file /file`, { context });
    expect(failure).toMatchObject({ class: 'user', step: { line: 2 } });
  }
  const { read } = await lab.build('FROM base\nUSER 3000000000\nWORKDIR /w');
  expect(await read('stat -c %u w')).toBe('1000000000\n');
});

test('ADD takes a git repository, and sees when it changes', async () => {
  const root = await mkdtemp(join(tmpdir(), 'engine-git-'));
  const repository = await startGitFixture(root);
  try {
    repository.commit((seed) => writeFileSync(join(seed, 'file'), 'of the repository'));
    const text = `FROM base\nADD ${repository.url}/open/repo.git /repo`;
    const { read } = await lab.build(text);
    expect(await read('cat repo/file; ls -A repo')).toBe('of the repositoryfile\n');
    expect((await lab.build(text)).events.use('ADD')).toBe('hit');
    repository.commit((seed) => writeFileSync(join(seed, 'file'), 'changed'));
    expect((await lab.build(text)).events.use('ADD')).toBe('miss: the files changed');
  } finally {
    await repository.close();
    await rm(root, { recursive: true, force: true });
  }
});
