import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readModeChange } from './file-mode.ts';

test('octal digits are the mode', () => {
  const { absolute, apply } = readModeChange('4755');
  expect(absolute).toBe(0o4755);
  expect(apply(0o600, false)).toBe(0o4755);
  expect(readModeChange('0644').absolute).toBe(0o644);
});

test('symbolic changes are those of chmod', () => {
  const root = mkdtempSync(join(tmpdir(), 'mode-'));
  try {
    const file = join(root, 'file');
    const directory = join(root, 'directory');
    writeFileSync(file, '');
    mkdirSync(directory);
    for (const change of [
      'u=rwX,go=rX',
      'a+x',
      'go-rwx',
      'g=u',
      'g=u-w',
      'u+s',
      'a+t',
      'o=',
      'u=rw,u+x',
      '-X',
      'ug=r,o=u',
    ]) {
      for (const [path, isDirectory] of [
        [file, false],
        [directory, true],
      ] as const) {
        for (const mode of [0o644, 0o755, 0o600, 0o711]) {
          chmodSync(path, mode);
          execFileSync('chmod', [change, path]);
          const expected = (statSync(path).mode & 0o7777).toString(8);
          expect(readModeChange(change).apply(mode, isDirectory).toString(8), `${change} of ${mode}`).toBe(expected);
        }
      }
    }
  } finally {
    rmSync(root, { recursive: true });
  }
});

test.each(['', '8', '99', '10000', '644x', 'u', 'u=z', 'x+r', 'u+x,', ',', '---q'])('%s is refused', (text) => {
  expect(() => readModeChange(text)).toThrow('is no mode');
});
