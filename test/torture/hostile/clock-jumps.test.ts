import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { buildsOf } from '../../support/builds.ts';
import { type Darkroom, jsonOf, startDarkroom } from '../../support/darkroom.ts';
import { eventually } from '../../support/eventually.ts';
import { type SlowProxy, startSlowProxy } from '../../support/slow-proxy.ts';
import { type ExternalPostgres, startExternalPostgres } from './external-postgres.ts';
import { type FakeClock, makeFakeClock } from './fake-clock.ts';
import { EVERYTHING } from './how-much.ts';
import { addBase, underLoad } from './under-load.ts';

// A busy machine has the same to do.
vi.setConfig({ testTimeout: 300_000 });

/** The clock of the server and of its database is set by an hour, forward and back, while clients work. */
const HOUR = 3600;
const FAST = 2 ** 30;
let clock: FakeClock;
let postgres: ExternalPostgres;
let proxy: SlowProxy;
let darkroom: Darkroom;

beforeAll(async () => {
  clock = await makeFakeClock();
  postgres = await startExternalPostgres(clock.env);
  proxy = await startSlowProxy(inject('registryUrl'), FAST);
  darkroom = await startDarkroom({
    config: { registries: { mirrors: { 'docker.io': [proxy.url] } } },
    env: { ...clock.env, DATABASE_URL: postgres.url },
  });
  await addBase(darkroom, inject('baseImage'));
});
afterAll(async () => {
  await darkroom?.destroy();
  await proxy?.close();
  await postgres?.destroy();
  await clock?.remove();
});

interface Named {
  id: string;
  state: string;
  errorReason: string | null;
}

const post = async (path: string, body?: object) => {
  const answer = await darkroom.api(path, { method: 'POST', ...(body === undefined ? {} : { body }) });
  const text = await answer.text();
  expect(answer.status, text).toBeLessThan(300);
  return text === '' ? undefined : JSON.parse(text);
};
const sandbox = async (id: string) => jsonOf<Named>(darkroom.api(`/sandbox/${id}`));
const jumps = () => darkroom.output().split('the clock was set').length - 1;

const JUMPS: [string, number][] = [
  ['forward', HOUR],
  ['back', 0],
  ['back once more', -HOUR],
];

test.each(EVERYTHING ? JUMPS : JUMPS.slice(0, 1))(
  '%s: what is on its way goes on, and what was promised for later neither comes at once nor an hour late',
  async (name, offset) => {
    const idle = await post('/sandbox', { snapshot: 'base', autoStopInterval: 30, autoDeleteInterval: 30 });
    const stopped = await post('/sandbox', { snapshot: 'base', autoStopInterval: 0, autoDeleteInterval: 30 });
    await post(`/sandbox/${stopped.id}/stop`);
    await eventually('it is stopped', async () => ((await sandbox(stopped.id)).state === 'stopped' ? true : undefined));
    // A pull and a build that last longer than the jump is noticed.
    proxy.setRate(50 * 2 ** 20);
    const pulled = await post('/snapshots', { name: `pulled ${name}`.replaceAll(' ', '-'), imageName: 'padded:700mb' });
    const builds = buildsOf(darkroom);
    const built = await builds.start(`built-${offset}`, [`FROM ${inject('baseImage')}`, 'RUN sleep 20; echo through']);
    await proxy.untilPassed(proxy.passed() + 2 ** 20);

    const before = jumps();
    await underLoad(darkroom, { image: inject('baseImage'), clients: 3, mayAnswer: [] }, async () => {
      await clock.set(offset);
      // Not later than the next lease.
      await eventually('the jump is noticed', async () => (jumps() > before ? true : undefined), 10_000);
    });

    expect(await builds.ended(built)).toMatchObject({ state: 'active', errorReason: null });
    proxy.setRate(FAST);
    const end = await eventually('the pull ends', async () => {
      const now = await jsonOf<Named>(darkroom.api(`/snapshots/${pulled.id}`));
      return ['active', 'error'].includes(now.state) ? now : undefined;
    });
    expect(end).toMatchObject({ state: 'active', errorReason: null });
    expect((await sandbox(idle.id)).state).toBe('started');
    expect((await sandbox(stopped.id)).state).toBe('stopped');
    // Their time counts from now on, whatever the clock showed when they were used last.
    await post(`/sandbox/${stopped.id}/autodelete/0`);
    await darkroom.api(`/sandbox/${idle.id}`, { method: 'DELETE' });
    await darkroom.api(`/snapshots/${pulled.id}`, { method: 'DELETE' });
    const isGone = async (path: string) => ((await darkroom.api(path)).status === 404 ? true : undefined);
    await eventually(
      'they are gone',
      async () => (await isGone(`/sandbox/${stopped.id}`)) && (await isGone(`/snapshots/${pulled.id}`)),
    );
    // The next pull of it takes its time again.
    await post('/admin/gc', { withoutGrace: true });
    expect(darkroom.output()).not.toContain('a deadline has passed');
    expect(darkroom.output()).not.toContain('its server ended before it was done');
    expect(darkroom.output()).not.toContain('too long, or was given to another server');
  },
);
