import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { FAILPOINTS } from './failpoint-names.ts';
import { armFailpoints, failpoint } from './failpoints.ts';

afterEach(() => armFailpoints(''));

describe('failpoints', () => {
  test('do nothing while they are not armed', () => {
    expect(failpoint('seal.renamed')).toBeUndefined();
  });

  test('fail the call, at every pass or at one', async () => {
    armFailpoints('seal.renamed=error, seal.synced=error@2');
    expect(() => failpoint('seal.renamed')).toThrow('failpoint seal.renamed');
    expect(() => failpoint('seal.renamed')).toThrow();
    expect(failpoint('seal.synced')).toBeUndefined();
    expect(() => failpoint('seal.synced')).toThrow();
    expect(failpoint('seal.synced')).toBeUndefined();
  });

  test('make the call take longer', async () => {
    armFailpoints('seal.synced=pause:1');
    await expect(failpoint('seal.synced')).resolves.toBeUndefined();
  });

  test.each(['nowhere=kill', 'seal.synced', 'seal.synced=explode', 'seal.synced=pause:x'])('%s is refused', (text) => {
    expect(() => armFailpoints(text)).toThrow('there is no failpoint');
  });

  test('are armed and disarmed while the server runs, by a file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'darkroom-failpoints-'));
    const file = join(directory, 'armed');
    try {
      armFailpoints(`@${file}`);
      expect(failpoint('seal.renamed')).toBeUndefined();
      await writeFile(file, 'seal.renamed=error@2');
      expect(failpoint('seal.renamed')).toBeUndefined();
      expect(() => failpoint('seal.renamed')).toThrow('failpoint seal.renamed');
      await writeFile(file, '');
      expect(failpoint('seal.renamed')).toBeUndefined();
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('have names of their own', () => {
    expect(new Set(FAILPOINTS).size).toBe(FAILPOINTS.length);
  });
});
