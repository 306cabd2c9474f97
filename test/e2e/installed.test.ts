import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../packages/server/src/platform/process.ts';
import { startDarkroom } from '../support/darkroom.ts';

/** What is installed from packages is compiled and lies below node_modules: it must run there as it does in the checkout. */
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-installed-'));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test('the packages install, and the darkroom command of the installation serves', { timeout: 300_000 }, async () => {
  const packages = join(directory, 'packages');
  const pack = join(import.meta.dirname, '..', '..', 'scripts', 'pack.ts');
  await run(process.execPath, [pack, packages], { timeoutMs: 180_000 });
  const tarballs = (await readdir(packages)).map((name) => join(packages, name));
  await run('npm', ['install', '--prefix', directory, '--no-audit', '--no-fund', '--loglevel=error', ...tarballs], {
    timeoutMs: 240_000,
  });
  const launcher = join(directory, 'node_modules', '.bin', 'darkroom');
  expect((await run(process.execPath, [launcher, '--version'], { timeoutMs: 30_000 })).stdout).toMatch(
    /^\d+\.\d+\.\d+/,
  );
  const darkroom = await startDarkroom({ launcher });
  try {
    const ready = await fetch(`${darkroom.url}/health/ready`);
    expect([ready.status, await ready.json()]).toMatchObject([200, { status: 'ok' }]);
  } finally {
    await darkroom.destroy();
  }
});
