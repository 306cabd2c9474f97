import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { armFailpoints } from '../../../platform/failpoints.ts';
import { createDiskFreezer } from './disk-freezer.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'freezer-'));
  writeFileSync(join(directory, 'image'), '');
});
afterEach(() => {
  armFailpoints('');
  rmSync(directory, { recursive: true, force: true });
});

test('a copy that takes too long keeps its disk busy until its thread has ended, and its marker', async () => {
  armFailpoints('capture.marked=pause:1500');
  const freezer = createDiskFreezer({ timeoutMs: 1000 });
  const marker = join(directory, 'marker');
  // A file system that cannot be frozen.
  const job = (target: string) => ({
    ...{ root: '/proc', image: join(directory, 'image'), marker },
    targets: [join(directory, target)],
  });
  try {
    await expect(freezer.clone(job('first'))).rejects.toMatchObject({ code: 'timeout', retryable: true });
    await expect(freezer.clone(job('second'))).rejects.toMatchObject({ message: expect.stringContaining('earlier') });
    await freezer.settled(marker);
    expect(existsSync(marker)).toBe(false);
    expect(existsSync(join(directory, 'first'))).toBe(true);
    armFailpoints('');
  } finally {
    await freezer.close();
  }
});
