import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { run } from '../../packages/server/src/platform/process.ts';
import { type BuildSdk, buildSdks } from '../support/build-sdks.ts';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { stepEnvironment, whyNoPackages } from '../support/package-index.ts';
import { pythonSdkVersions, pythonWithSdk } from '../support/python-sdk.ts';

/**
 * The example that the SDKs' documents begin with, to the letter: Debian slim with a compiler by apt-get and numpy from the package index.
 * The first takes its time; the others, which say the same, have it from the cache.
 */
const suite = join(import.meta.dirname, '..', 'python');
const unreachable = await whyNoPackages();
if (unreachable !== undefined) console.log(`no packages can be had here, so the example is not built: ${unreachable}`);
let darkroom: Darkroom;

beforeAll(async () => {
  darkroom = await startDarkroom({
    config: { registries: { mirrors: { 'docker.io': [inject('registryUrl')] } }, builds: { stepEnvironment } },
  });
});

afterAll(async () => {
  await darkroom?.destroy();
});

async function buildExample(sdk: BuildSdk, name: string): Promise<string> {
  const connection = { apiKey: darkroom.apiKey, apiUrl: `${darkroom.url}/api` };
  const image = sdk.Image.debianSlim('3.12').pipInstall('numpy');
  const chunks: string[] = [];
  await sdk.createSnapshot(connection, { name, image }, { onLogs: (chunk) => chunks.push(chunk) });
  const sandbox = await sdk.createSandbox(connection, { snapshot: name });
  try {
    const command = 'python -c "import numpy; print(numpy.array([1, 2, 3]) * 2)" && gcc --version | head -n 1';
    expect((await sandbox.process.executeCommand(command)).result).toMatch(/^\[2 4 6\]\ngcc /);
  } finally {
    await sandbox.delete();
  }
  return chunks.join('\n');
}

describe.skipIf(unreachable !== undefined)('Image.debianSlim with numpy', () => {
  test('is built with its output as log, and its environment stays as the image has it', {
    timeout: 400_000,
  }, async () => {
    const [sdk] = buildSdks.slice(-1);
    if (sdk === undefined) throw new Error('there is no SDK');
    const log = await buildExample(sdk, 'my-snapshot');
    for (const said of ['gfortran', 'Successfully installed', 'numpy']) expect(log).toContain(said);
    const { id } = await jsonOf<{ id: string }>(
      darkroom.api('/sandbox', { method: 'POST', body: { snapshot: 'my-snapshot' } }),
    );
    const answer = await fetch(`${darkroom.url}/toolbox/${id}/process/execute`, {
      method: 'POST',
      headers: { authorization: `Bearer ${darkroom.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ command: 'env' }),
    });
    const { result } = await jsonOf<{ result: string }>(answer);
    expect(result).not.toMatch(/PIP_|SSL_CERT|_proxy/i);
  });

  test.each(buildSdks.slice(0, -1).map((sdk) => [sdk.label, sdk] as const))(
    '%s has it from the cache',
    async (label, sdk) => {
      expect(await buildExample(sdk, `again-${label.replace(/[^a-z0-9]+/g, '-')}`)).toContain('CACHED');
    },
  );

  test.each(pythonSdkVersions)('daytona %s has it from the cache, sync and async', async (version) => {
    const python = await pythonWithSdk(version);
    const result = await run(python, ['-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', 'test_builds.py'], {
      timeoutMs: 100_000,
      okCodes: [0, 1, 2, 3, 4, 5],
      cwd: suite,
      env: {
        ...process.env,
        DAYTONA_API_URL: `${darkroom.url}/api`,
        DAYTONA_API_KEY: darkroom.apiKey,
        DARKROOM_TEST_IMAGE: inject('baseImage'),
        DARKROOM_TEST_BUILDS: 'example',
      },
    });
    expect(result.exitCode, result.stdout + result.stderr).toBe(0);
    expect(result.stdout).toMatch(/2 passed/);
  });
});
