import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { run } from '../../packages/server/src/platform/process.ts';
import { type OutsideWorld, openOutsideWorld } from '../../packages/server/src/test-support/outside-world.ts';
import { type Darkroom, startDarkroom } from '../support/darkroom.ts';
import { pythonSdkVersions, pythonWithSdk } from '../support/python-sdk.ts';

/** The official Python package, sync and async: `test/python` holds what they do. */
const suite = join(import.meta.dirname, '..', 'python');

let darkroom: Darkroom;
let world: OutsideWorld;

beforeAll(async () => {
  world = await openOutsideWorld();
  await world.names.serve([
    ['one.example.test', 'A', world.hosts[0], 60],
    ['two.example.test', 'A', world.hosts[1], 60],
  ]);
  const registries = { mirrors: { 'docker.io': [inject('registryUrl')] } };
  darkroom = await startDarkroom({ config: { registries, network: { dns: [world.nameServer] } } });
});

afterAll(async () => {
  await darkroom?.destroy();
  await world?.close();
});

describe.each(pythonSdkVersions)('daytona %s', (version) => {
  test('passes the suite of calls', { timeout: 600_000 }, async () => {
    const python = await pythonWithSdk(version);
    const result = await run(python, ['-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', suite], {
      timeoutMs: 240_000,
      okCodes: [0, 1, 2, 3, 4, 5],
      cwd: suite,
      env: {
        ...process.env,
        DAYTONA_API_URL: `${darkroom.url}/api`,
        DAYTONA_API_KEY: darkroom.apiKey,
        DARKROOM_TEST_IMAGE: inject('baseImage'),
        DARKROOM_TEST_HOSTS: world.hosts.join(','),
        DARKROOM_TEST_HOSTS_PORT: String(world.port),
      },
    });
    expect(result.exitCode, result.stdout + result.stderr).toBe(0);
  });
});
