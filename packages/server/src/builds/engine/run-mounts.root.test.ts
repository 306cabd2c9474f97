import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab({ settings: { cacheMountBytes: 8 * 1024 * 1024 } });
}, 60_000);
afterAll(() => lab.close());

const lines = (...text: string[]) => text.join('\n');
const context = { 'src/a': 'A\n', 'src/b': 'B\n', top: 'top\n' };

test('bind shows the context, a stage or an image, and nothing that is written there stays', async () => {
  const { events, image, read } = await lab.build(
    lines(
      'FROM base AS other',
      'RUN mkdir /out && echo other > /out/file',
      'FROM base',
      'RUN --mount=type=bind,source=src,target=/m cat /m/a; touch /m/x 2>&1 || echo read-only',
      'RUN --mount=type=bind,source=src/b,target=/b,rw cat /b; echo changed > /b; cat /b',
      'RUN --mount=target=/all,rw cat /all/top; rm /all/top; ls /all; echo FROM > /all/Dockerfile',
      'RUN --mount=from=other,source=/out,target=/o cat /o/file',
      'RUN --mount=from=base,target=/i cat /i/etc/group',
      'RUN --mount=from=scratch,target=/n ls -lnd /n; ls -A /n',
    ),
    { context },
  );
  expect(events.output('RUN --mount=type=bind,source=src,')).toMatch(/^A\n[^\n]*Read-only file system\nread-only\n$/);
  expect(events.output('RUN --mount=type=bind,source=src/b')).toBe('B\nchanged\n');
  expect(events.output('RUN --mount=target=/all')).toBe('top\nDockerfile\nsrc\n');
  expect(events.output('RUN --mount=from=other')).toBe('other\n');
  expect(events.output('RUN --mount=from=base')).toContain('app:x:1000');
  expect(events.output('RUN --mount=from=scratch')).toMatch(/^drwxr-xr-x +\d+ 0 +0 .* \/n\n$/);
  expect(image.layers).toHaveLength(1);
  expect(await read('ls -d m b all o i 2>&1 || true')).not.toMatch(/^(m|b|all|o|i)$/m);
});

test('a bind mount is part of the key by what it shows, and .dockerignore holds for it', async () => {
  const text = lines('FROM base', 'RUN --mount=source=src,target=/m ls -A /m; cat /m/*');
  const first = await lab.build(text, { context: { ...context, '.dockerignore': 'src/a' } });
  expect(first.events.output('RUN')).toBe('b\nB\n');
  const same = await lab.build(text, { context: { ...context, 'src/a': 'ignored', '.dockerignore': 'src/a' } });
  expect(same.events.use('RUN')).toBe('hit');
  const other = await lab.build(text, { context: { ...context, 'src/b': 'new\n', '.dockerignore': 'src/a' } });
  expect(other.events.use('RUN')).toBe('miss: the files changed');
  const { failure } = await lab.fail('FROM base\nRUN --mount=source=srv,target=/m true', { context });
  expect(failure).toMatchObject({ class: 'user', step: { line: 2 } });
  expect(failure.message).toBe('/srv was not found in the build’s context');
  expect(failure.hint).toContain('src');
});

test('cache directories stay from build to build, by organization, id and owner', async () => {
  const add = (word: string, options = '') =>
    `FROM base\nRUN --mount=type=cache,id=words,target=/c${options} echo ${word} >> /c/words; cat /c/words`;
  await lab.build(add('one'));
  expect((await lab.build(add('two'))).events.output('RUN')).toBe('one\ntwo\n');
  const organizationId = await lab.addOrganization();
  expect((await lab.build(add('three'), { organizationId })).events.output('RUN')).toBe('three\n');
  const owned = await lab.build(
    'FROM base\nRUN --mount=type=cache,id=words,target=/c,uid=1000,gid=7,mode=750 stat -c "%u %g %a" /c',
  );
  expect(owned.events.output('RUN')).toBe('1000 7 750\n');
});

test('a cache begins with what it is made from', async () => {
  const text = (word: string) =>
    lines(
      'FROM base AS seed',
      'RUN mkdir /seed && echo seed > /seed/file',
      'FROM base',
      `RUN --mount=type=cache,target=/c,from=seed,source=/seed cat /c/*; echo ${word} > /c/${word}`,
    );
  expect((await lab.build(text('a'))).events.output('RUN --mount')).toBe('seed\n');
  expect((await lab.build(text('b'))).events.output('RUN --mount')).toBe('a\nseed\n');
});

test('a cache cannot begin with a file', async () => {
  const text = lines(
    'FROM base AS seed',
    'RUN echo x > /f',
    'FROM base',
    'RUN --mount=type=cache,target=/c,from=seed,source=/f ls /c',
  );
  await expect(lab.build(text)).rejects.toMatchObject({ class: 'user', message: expect.stringContaining('/f') });
});

test('a locked cache is waited for, a private one is made anew', async () => {
  const step = (sharing: string, word: string) =>
    lines(
      'FROM base',
      `RUN --mount=type=cache,id=${sharing},sharing=${sharing},target=/c mkdir /c/lock && echo ${word} && sleep 0.3 && rmdir /c/lock`,
    );
  for (const sharing of ['locked', 'private']) {
    await Promise.all(['a', 'b', 'c'].map((word) => lab.build(step(sharing, word))));
  }
});

test('caches that were not used for longest make way', async () => {
  const fill = (id: string) =>
    `FROM base\nRUN --mount=type=cache,id=${id},target=/c ls /c; dd if=/dev/urandom of=/c/data-of-${id} bs=1M count=5`;
  await lab.build(fill('old'));
  await lab.build(fill('new'));
  await lab.engine.close().catch(() => {});
  const { stdout } = await run('find', [`${lab.poolRoot}/build-mounts`, '-name', 'data-of-*'], { timeoutMs: 5000 });
  expect(
    stdout
      .trim()
      .split('\n')
      .map((path) => path.replace(/.*-of-/, '')),
  ).toEqual(['new']);
});
