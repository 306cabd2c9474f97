import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../packages/server/src/platform/process.ts';

const cache = join(import.meta.dirname, '..', '..', '.cache');

/** The official Python package: the oldest that installs, and the newest. */
export const pythonSdkVersions = ['0.190.0', '0.226.1'];

/** The Python of an environment with exactly this version of the SDK, kept in the checkout's cache. */
export function pythonWithSdk(version: string): Promise<string> {
  return pythonWith(`daytona-python-${version}`, [`daytona==${version}`, 'pytest==9.1.0']);
}

export async function pythonWith(name: string, packages: readonly string[]): Promise<string> {
  const directory = join(cache, name);
  const complete = join(directory, 'complete');
  if (!existsSync(complete)) {
    await run('python3', ['-m', 'venv', '--clear', directory], { timeoutMs: 60_000 });
    await run(join(directory, 'bin', 'pip'), ['install', '--quiet', ...packages], { timeoutMs: 300_000 });
    await run('touch', [complete], { timeoutMs: 5_000 });
  }
  return join(directory, 'bin', 'python');
}
