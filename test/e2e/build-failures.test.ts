import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { buildsOf } from '../support/builds.ts';
import { type Darkroom, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { litterOf } from '../support/litter.ts';
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy.ts';
import { databaseDump, filesWith } from '../support/stored-bytes.ts';

/** Builds under a server that is killed, steps that never end, registries that go away, clients that change their minds. */
const FAST = 2 ** 30;
const RUN_LIMITS = { pids: 64, memoryGb: 0.25, diskGb: 0.0625, stepMinutes: 0.1, logMb: 1 };
let darkroom: Darkroom;
let proxy: SlowProxy;
let builds: ReturnType<typeof buildsOf>;
const FROM = () => `FROM ${inject('baseImage')}`;

/** A step that says a word and then never ends when it runs for the first time, and goes through when it runs again. */
const stuckOnce = (word: string, seconds: number) =>
  `RUN --mount=type=cache,target=/seen [ -e /seen/${word} ] || { touch /seen/${word}; echo ${word}; sleep ${seconds}; }; echo after ${word}`;

async function running(command: string): Promise<number> {
  return (await litterOf(darkroom.stateDir)).contained.filter((line) => line.includes(command)).length;
}

describe('a server that ends', () => {
  beforeAll(async () => {
    darkroom = await startDarkroom({ config: { registries: { mirrors: { 'docker.io': [inject('registryUrl')] } } } });
    builds = buildsOf(darkroom);
  });
  afterAll(() => darkroom?.destroy());

  test('in the middle of a step: the build goes on by itself from the last finished one, and its log with it', async () => {
    const snapshot = await builds.start('goes-on', [
      FROM(),
      'RUN cat /proc/sys/kernel/random/uuid > /first && echo first',
      stuckOnce('killed', 6171),
      stuckOnce('stopped', 6172),
    ]);
    await builds.said(snapshot, 'killed');
    const first = (await builds.record(snapshot)).steps.find(({ line }) => line === 2);
    expect(first).toMatchObject({ state: 'done', cache: 'miss' });

    await darkroom.kill();
    await darkroom.restart();
    expect(await running('sleep 6171')).toBe(0);
    await builds.said(snapshot, 'stopped');
    // The other way to end, and a build is no reason to wait with it.
    await darkroom.stop();
    expect(await running('sleep 6172')).toBe(0);
    await darkroom.restart();

    expect(await builds.ended(snapshot)).toMatchObject({ state: 'active', errorReason: null });
    const { steps } = await builds.record(snapshot);
    expect(steps.map(({ line, state }) => [line, state])).toEqual([
      [1, expect.any(String)],
      [2, 'cached'],
      [3, 'cached'],
      [4, 'done'],
    ]);
    const lines = await builds.log(snapshot);
    expect(lines.map(({ index }) => index)).toEqual(lines.map((_, index) => index));
    const words = lines.filter(({ stream }) => stream !== 'note').map(({ text }) => text);
    expect(words).toEqual(['first', 'killed', 'after killed', 'stopped', 'after stopped']);
    expect((await builds.inSandbox(snapshot, 'cat /first')).trim()).toHaveLength(36);
  });
});

describe('a server that runs', () => {
  beforeAll(async () => {
    proxy = await startSlowProxy(inject('registryUrl'), FAST);
    darkroom = await startDarkroom({
      config: {
        registries: { mirrors: { 'docker.io': [proxy.url] } },
        builds: { limits: RUN_LIMITS, concurrency: 8, concurrencyPerOrganization: 8 },
        pool: { maxBytes: 2 * 2 ** 30 },
      },
    });
    builds = buildsOf(darkroom);
  });
  afterAll(async () => {
    await darkroom?.destroy();
    await proxy?.close();
  });
  afterEach(async () => {
    await eventually('nothing runs any more', async () => ((await running('')) === 0 ? true : undefined), 10_000);
  });

  test('two builds of the same at once run each step once', async () => {
    const dockerfile = [FROM(), 'RUN sleep 1; cat /proc/sys/kernel/random/uuid | tee /drawn', 'RUN echo second'];
    const both = await Promise.all(['one', 'other'].map((name) => builds.start(`same-${name}`, dockerfile)));
    for (const snapshot of both) expect(await builds.ended(snapshot)).toMatchObject({ state: 'active' });
    const [one, other] = await Promise.all(both.map((snapshot) => builds.inSandbox(snapshot, 'cat /drawn')));
    expect(one).toBe(other);
    const records = await Promise.all(both.map(builds.record));
    for (const line of [2, 3]) {
      const uses = records.map(({ steps }) => steps.find((step) => step.line === line)?.cache);
      expect(uses.filter((use) => use === 'miss')).toHaveLength(1);
    }
    // Who did not run it saw it all the same.
    for (const snapshot of both) {
      const texts = (await builds.log(snapshot)).map(({ text }) => text);
      expect(texts).toContain(one?.trim());
    }
  });

  test.each([
    ['forks', 'while :; do sleep 600 & done', /process/i],
    ['writes', 'cat /dev/zero > /fill', /disk|MiB|MB|GiB|GB/],
    ['prints', 'yes and more', /log|output/i],
    ['sleeps', 'sleep 6000', /6 s|0\.1 min|time/i],
    ['takes memory', 'python3 -c "x = bytearray(2 ** 30)"', /memory/i],
  ])('a step that %s for ever is ended by a limit that is named', async (_, command, reason) => {
    const snapshot = await builds.start(`for-ever-${crypto.randomUUID()}`, [FROM(), `RUN ${command}`]);
    const end = await builds.ended(snapshot);
    expect(['error', 'build_failed']).toContain(end.state);
    expect(end.errorReason).toMatch(reason);
    const { state, failure } = await builds.record(snapshot);
    expect(state).toBe('failed');
    expect(failure).toMatchObject({ class: 'limit_exceeded', step: { line: 2 } });
  });

  test('cancel ends the whole tree of a step at once, and the follower with it', async () => {
    const stubborn = `trap "" TERM INT HUP; setsid sleep 6173 & echo began; while :; do sleep 6173; done`;
    const snapshot = await builds.start('cancelled', [FROM(), `RUN ${stubborn}`]);
    await builds.said(snapshot, 'began');
    const following = builds.log(snapshot);
    expect(await running('sleep 6173')).toBeGreaterThan(1);
    expect((await darkroom.api(`/snapshots/${snapshot.id}/cancel`, { method: 'POST' })).status).toBeLessThan(300);
    await eventually('nothing of it runs', async () => ((await running('sleep 6173')) === 0 ? true : undefined), 2_000);
    expect(await builds.ended(snapshot)).toMatchObject({ errorReason: expect.stringMatching(/cancel/i) });
    expect((await builds.record(snapshot)).state).toBe('cancelled');
    expect((await following).map(({ text }) => text)).toContain('began');
  });

  test('delete during a build ends it and frees the name at once', async () => {
    const snapshot = await builds.start('again', [FROM(), 'RUN echo began; sleep 6174']);
    await builds.said(snapshot, 'began');
    expect((await darkroom.api(`/snapshots/${snapshot.id}`, { method: 'DELETE' })).status).toBe(200);
    const next = await builds.start('again', [FROM(), 'RUN echo anew']);
    await eventually('nothing of it runs', async () => ((await running('sleep 6174')) === 0 ? true : undefined), 2_000);
    expect(await builds.ended(next)).toMatchObject({ state: 'active' });
    expect((await darkroom.api(`/snapshots/${snapshot.id}`)).status).toBe(404);
  });

  test('many read the log from the start, at once and later, and all read the same', async () => {
    const snapshot = await builds.start('read', [FROM(), 'RUN for i in $(seq 2000); do echo line $i; done; sleep 1']);
    const early = Array.from({ length: 20 }, () => builds.log(snapshot));
    await builds.said(snapshot, 'line 2000');
    const late = Array.from({ length: 5 }, () => builds.log(snapshot));
    const [whole, ...others] = await Promise.all([...early, ...late]);
    const printed = whole?.filter(({ text }) => text.startsWith('line ')).map(({ text }) => text);
    expect(printed).toEqual(Array.from({ length: 2000 }, (_, index) => `line ${index + 1}`));
    for (const other of others) expect(other).toEqual(whole);
    // And long after, from where one wants.
    const tail = await darkroom.api(`/snapshots/${snapshot.id}/build-logs?format=jsonl&from=1500`);
    expect((await tail.text()).trim().split('\n')).toHaveLength((whole?.length ?? 0) - 1500);
  });

  test('secrets are in no stored byte, no row, no log and no reason', async () => {
    const canary = randomBytes(24).toString('hex');
    const whole = `user:${canary}`;
    const secrets = { token: whole };
    const mount = '--mount=type=secret,id=token';
    const good = await builds.start(
      'with-secret',
      [FROM(), `RUN ${mount} md5sum /run/secrets/token; cat /run/secrets/token; echo; ls -A /run/secrets > /seen`],
      { secrets },
    );
    const bad = await builds.start(
      'fails-with-secret',
      [FROM(), `RUN ${mount},env=TOKEN echo "no entry for $TOKEN" >&2; exit 9`],
      { secrets },
    );
    expect(await builds.ended(good)).toMatchObject({ state: 'active' });
    expect((await builds.ended(bad)).errorReason).toMatch(/no entry for/);
    expect(await builds.inSandbox(good, 'cat /seen; ls -A /run/secrets 2>/dev/null')).toBe('token\n');

    const said = JSON.stringify([
      ...(await Promise.all([good, bad].map(builds.log))),
      ...(await Promise.all([good, bad].map(builds.record))),
      await builds.ended(bad),
    ]);
    expect(said).not.toContain(canary);
    expect(darkroom.output()).not.toContain(canary);
    expect(await databaseDump(darkroom)).not.toContain(canary);
    expect(await filesWith(darkroom, canary)).toEqual([]);
    // The search finds what is there: this is in a file of the snapshot.
    const mark = randomBytes(24).toString('hex');
    await builds.ended(await builds.start('with-mark', [FROM(), `RUN echo ${mark} > /mark`]));
    expect((await filesWith(darkroom, mark)).length).toBeGreaterThan(0);
    expect(await databaseDump(darkroom)).toContain(mark);
  });

  test('a registry that goes away in the middle of a pull fails the build, and it can be tried again', async () => {
    proxy.setRate(20 * 2 ** 20);
    const snapshot = await builds.start('cut-off', ['FROM padded:700mb', 'RUN true']);
    await proxy.untilPassed(proxy.passed() + 10 * 2 ** 20);
    await proxy.close();
    const { errorReason } = await builds.ended(snapshot);
    expect(errorReason).toContain('padded:700mb');
    expect((await builds.record(snapshot)).failure).toMatchObject({ class: 'network', retryable: true });
  });

  test('while no registry answers, what a tag meant the last time is built upon, and the log says so', async () => {
    const snapshot = await builds.start('without-registry', [FROM(), 'RUN echo it builds']);
    expect(await builds.ended(snapshot)).toMatchObject({ state: 'active' });
    const notes = (await builds.log(snapshot)).filter(({ stream }) => stream === 'note');
    expect(notes.map(({ text }) => text).join('\n')).toMatch(/Instead, what .* meant at .* is used/);
  });
});

describe('a server whose pool is small', () => {
  beforeAll(async () => {
    darkroom = await startDarkroom({
      config: {
        registries: { mirrors: { 'docker.io': [inject('registryUrl')] } },
        pool: { maxBytes: 640 * 2 ** 20 },
      },
    });
    builds = buildsOf(darkroom);
  });
  afterAll(() => darkroom?.destroy());

  test('a step that fills it fails with that reason, what it wrote goes, and everybody else goes on', async () => {
    const before = await builds.start('before', [FROM(), 'RUN echo kept > /kept']);
    expect(await builds.ended(before)).toMatchObject({ state: 'active' });
    const filling = await builds.start('filling', [FROM(), 'RUN cat /dev/zero > /fill; sleep 1; exit 1']);
    const { errorReason } = await builds.ended(filling);
    expect(errorReason).toMatch(/space|full/i);
    expect((await builds.record(filling)).failure).toMatchObject({ step: { line: 2 } });

    const after = await builds.start('after', [FROM(), 'RUN head -c 50000000 /dev/zero > /some && wc -c < /some']);
    expect(await builds.ended(after)).toMatchObject({ state: 'active', errorReason: null });
    expect(await builds.inSandbox(before, 'cat /kept')).toBe('kept\n');
  });
});
