import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSecretBox } from './secrets.ts';

let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-secrets-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

test('what was sealed is opened again, also after a restart, and looks different each time', async () => {
  const box = await openSecretBox(stateDir);
  const sealed = box.seal('pässword', 'registry:1');
  expect(sealed.equals(box.seal('pässword', 'registry:1'))).toBe(false);
  expect(sealed.includes('pässword')).toBe(false);
  expect((await openSecretBox(stateDir)).open(sealed, 'registry:1')).toBe('pässword');
  expect(box.open(box.seal(''))).toBe('');
});

test('what was changed, cut short, or sealed for something else is refused', async () => {
  const box = await openSecretBox(stateDir);
  const sealed = box.seal('secret', 'registry:1');
  expect(() => box.open(sealed, 'registry:2')).toThrow('cannot be decrypted');
  expect(() => box.open(sealed.subarray(0, 10), 'registry:1')).toThrow('cannot be decrypted');
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed.writeUInt8((changed[at] ?? 0) ^ 1, at);
    expect(() => box.open(changed, 'registry:1')).toThrow('cannot be decrypted');
  }
});

test('the key file is for its owner only, and openings at the same time agree on one', async () => {
  const boxes = await Promise.all([openSecretBox(stateDir), openSecretBox(stateDir)]);
  expect(boxes[1]?.open(boxes[0]?.seal('x') ?? Buffer.alloc(0))).toBe('x');
  expect((await stat(join(stateDir, 'secret.key'))).mode & 0o777).toBe(0o600);
  expect(await readdir(stateDir)).toEqual(['secret.key']);
});

test('a key file that is broken or open to others is refused, not replaced', async () => {
  await openSecretBox(stateDir);
  const path = join(stateDir, 'secret.key');
  await chmod(path, 0o644);
  await expect(openSecretBox(stateDir)).rejects.toThrow('must have mode 0600');
  await chmod(path, 0o600);
  await writeFile(path, 'short');
  await expect(openSecretBox(stateDir)).rejects.toThrow('has 5 bytes');
});
