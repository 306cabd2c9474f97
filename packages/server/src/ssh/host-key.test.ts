import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadHostKey } from './host-key.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-host-key-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('the key is made once, and only its owner can read it', async () => {
  const made = await loadHostKey(directory);
  expect(made.publicKey).toMatch(/^ssh-ed25519 \S+$/);
  expect(made.fingerprint).toMatch(/^SHA256:[\w+/]{43}$/);
  expect((await stat(join(directory, 'ssh-host-key'))).mode & 0o777).toBe(0o600);
  expect(await loadHostKey(directory)).toEqual(made);
});

test('what an interrupted start left is no key', async () => {
  await writeFile(join(directory, 'ssh-host-key.new'), 'half');
  await loadHostKey(directory);
  expect(await readFile(join(directory, 'ssh-host-key'), 'utf8')).toContain('PRIVATE KEY');
});

test('a broken key stops the start, and is not replaced', async () => {
  const path = join(directory, 'ssh-host-key');
  await writeFile(path, 'broken');
  await chmod(path, 0o600);
  await expect(loadHostKey(directory)).rejects.toThrow('is no key');
  expect(await readFile(path, 'utf8')).toBe('broken');
});
