import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

vi.setConfig({ testTimeout: 30_000 });

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'darkroom-cli-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function darkroom(args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '', ...env },
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}

test('--version and --help are answers', () => {
  expect(darkroom(['--version'])).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  const help = darkroom(['up', '--help']);
  expect(help.status).toBe(0);
  for (const flag of ['--state-dir', '--listen', '--config', 'DARKROOM_NETWORK_CIDR'])
    expect(help.stdout).toContain(flag);
});

test('a flag or a command that is not known is refused with its name', () => {
  expect(darkroom(['up', '--bogus'])).toMatchObject({ status: 2, stderr: expect.stringContaining("'--bogus'") });
  expect(darkroom(['fly'])).toMatchObject({ status: 2, stderr: expect.stringContaining("'fly'") });
});

test('a setting that is wrong is refused with its name, wherever it stands', () => {
  expect(darkroom(['up', '--listen', 'nowhere'])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('listen'),
  });
  const byEnvironment = darkroom(['up'], { DARKROOM_NETWORK_CIDR: 'everywhere' });
  expect(byEnvironment).toMatchObject({ status: 2, stderr: expect.stringContaining('network.cidr') });
  const file = join(directory, 'darkroom.yaml');
  writeFileSync(file, 'runtime:\n  pidsLimit: few\n');
  expect(darkroom(['up', '--config', file])).toMatchObject({ status: 2, stderr: expect.stringContaining('pidsLimit') });
});

test('a file that cannot be read is refused with its name', () => {
  const file = join(directory, 'nothing.yaml');
  expect(darkroom(['up', '--config', file])).toMatchObject({ status: 2, stderr: expect.stringContaining(file) });
});

test('nothing that goes into a pipe has colour', () => {
  const { stdout, stderr } = darkroom(['doctor', '--state-dir', directory]);
  expect(stdout + stderr).not.toContain('\u001b[');
});

test('doctor prints a row for each thing, also as JSON, and fails when a row does', () => {
  const config = join(directory, 'darkroom.yaml');
  writeFileSync(config, 'runtime:\n  crun: no-such-crun\n');
  const text = darkroom(['doctor', '--state-dir', directory, '--config', config]);
  expect(text.status).toBe(1);
  expect(text.stdout).toMatch(/FAIL {2}crun .*no-such-crun/);
  const json: unknown = JSON.parse(darkroom(['doctor', '--state-dir', directory, '--config', config, '--json']).stdout);
  expect(json).toContainEqual(expect.objectContaining({ name: 'crun', status: 'fail', advice: expect.any(String) }));
});
