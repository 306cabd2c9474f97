import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { run } from '../../packages/server/src/platform/process.ts';
import { type Darkroom, startDarkroom } from '../support/darkroom.ts';
import { pythonSdkVersions, pythonWithSdk } from '../support/python-sdk.ts';

/** Builds by the official Python package, which sends files over https alone: `test/python/test_builds.py` holds what it does. */
const suite = join(import.meta.dirname, '..', 'python');
const system = '/etc/ssl/certs/ca-certificates.crt';
let darkroom: Darkroom;
let workspace: string;
let bundle: string;

beforeAll(async () => {
  workspace = await mkdtemp(join(tmpdir(), 'darkroom-python-builds-'));
  darkroom = await startDarkroom({
    config: { registries: { mirrors: { 'docker.io': [inject('registryUrl')] } } },
    flags: ['--tls'],
  });
  bundle = join(workspace, 'bundle.crt');
  await cp(system, bundle);
  await writeFile(bundle, await readFile(join(darkroom.stateDir, 'tls', 'ca.crt')), { flag: 'a' });
});

afterAll(async () => {
  await darkroom?.destroy();
  await rm(workspace, { recursive: true, force: true });
});

describe.each(pythonSdkVersions)('daytona %s', (version) => {
  test('builds with local files, sync and async', { timeout: 300_000 }, async () => {
    const python = await pythonWithSdk(version);
    const tests = [python, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', 'test_builds.py'];
    // As after `update-ca-certificates`, for this process alone: it looks at the machine's bundle and at no variable.
    const command = `mount --bind "$0" ${system} && exec "$@"`;
    const result = await run('unshare', ['--mount', 'sh', '-c', command, bundle, ...tests], {
      timeoutMs: 240_000,
      okCodes: [0, 1, 2, 3, 4, 5],
      cwd: suite,
      env: {
        ...process.env,
        SSL_CERT_FILE: system,
        DAYTONA_API_URL: `${darkroom.url}/api`,
        DAYTONA_API_KEY: darkroom.apiKey,
        DARKROOM_TEST_IMAGE: inject('baseImage'),
        DARKROOM_TEST_BUILDS: 'files',
      },
    });
    expect(result.exitCode, result.stdout + result.stderr).toBe(0);
    expect(result.stdout).toMatch(/\d+ passed/);
  });
});
