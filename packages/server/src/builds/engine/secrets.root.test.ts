import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab();
}, 60_000);
afterAll(() => lab.close());

const CANARY = `canary-${crypto.randomUUID()}`;

test('a secret reaches the step that mounts it, and nothing that is stored', async () => {
  const { events, read } = await lab.build(
    [
      'FROM base',
      'RUN --mount=type=secret,id=token [ "$(wc -c < /run/secrets/token)" = 43 ] && stat -c "%a %u" /run/secrets/token',
      'RUN --mount=type=secret,id=token,target=/etc/sub/key,env=TOKEN,uid=5,mode=440 [ "$TOKEN" = "$(cat /etc/sub/key)" ] && stat -c "%a %u" /etc/sub/key',
      'RUN --mount=type=secret,id=token,env=TOKEN printf %s "$TOKEN" | wc -c; ls /run /etc/sub; true',
      'RUN --mount=type=secret,id=absent ls /run/secrets; true',
    ].join('\n'),
    { secrets: { token: CANARY } },
  );
  expect(events.output('RUN --mount=type=secret,id=token [')).toBe('400 0\n');
  expect(events.output('RUN --mount=type=secret,id=token,target')).toBe('440 5\n');
  expect(events.output('RUN --mount=type=secret,id=token,env=TOKEN')).toMatch(/^43\n/);
  expect(await read('ls -d run/secrets etc/sub 2>/dev/null; true')).toBe('');
  expect(await stored()).toEqual([]);
});

test('its value is no part of the key, and that it is there is', async () => {
  const text = 'FROM base\nRUN --mount=type=secret,id=token true';
  await lab.build(text, { secrets: { token: CANARY } });
  expect((await lab.build(text, { secrets: { token: 'another' } })).events.use('RUN')).toBe('hit');
  expect((await lab.build(text)).events.use('RUN')).toBe('miss: the mounts changed');
});

test('one that is needed and was not given is named', async () => {
  const { failure } = await lab.fail('FROM base\nRUN --mount=type=secret,id=npm,required true');
  expect(failure).toMatchObject({ class: 'user', step: { line: 2 } });
  expect(failure.message).toBe('the step needs the secret npm, which was not given');
});

test('values of secrets are not in errors', async () => {
  const { failure } = await lab.fail('FROM base\nRUN --mount=type=secret,id=token,env=TOKEN "$TOKEN" 2>/dev/null', {
    secrets: { token: CANARY },
  });
  const { message, hint, step, cause } = failure;
  expect(JSON.stringify({ message, hint, step, cause })).not.toContain(CANARY);
  const written = await lab.fail(`FROM base\nRUN --mount=type=secret,id=token exit 1 # ${CANARY}`, {
    secrets: { token: CANARY },
  });
  expect(JSON.stringify({ ...written.failure, message: written.failure.message })).not.toContain(CANARY);
});

test('no build argument can be read out of the cache', async () => {
  await lab.build('FROM base\nARG PASSWORD\nRUN true', { buildArgs: { PASSWORD: CANARY } });
  expect(await stored()).toEqual([]);
});

/** Where the canary is in what the lab keeps: files of the pool, and the database. */
async function stored(): Promise<string[]> {
  const options = { timeoutMs: 30_000, okCodes: [0, 1] };
  const { stdout } = await run('grep', ['-r', '-l', '-a', '-F', CANARY, lab.poolRoot], options);
  const rows = await lab.database.db.selectFrom('build_cache').selectAll().execute();
  const inRows = rows.filter((row) => JSON.stringify(row).includes(CANARY)).map(() => 'build_cache');
  return [...stdout.split('\n').filter((line) => line !== ''), ...inRows];
}
