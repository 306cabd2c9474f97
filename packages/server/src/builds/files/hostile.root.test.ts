import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildTar, type TestMember } from '../../images/tar/testing/build-tar.ts';
import { ID_BASE, ID_COUNT } from '../../images/unpack/testing/layer-blob.ts';
import { describeTree } from '../../images/unpack/testing/tree.ts';
import { MNT_DETACH, mount, unmount } from '../../platform/libc.ts';
import { ContextMerge } from '../contexts/merge-context.ts';
import { type BuildFiles, createBuildFiles } from './build-files.ts';
import { createTransferLab, type TransferLab } from './testing/transfer-lab.ts';

let lab: TransferLab;
let files: BuildFiles;
beforeAll(async () => {
  lab = await createTransferLab();
  files = createBuildFiles({ idBase: ID_BASE, idCount: ID_COUNT });
});
afterAll(async () => {
  await files.close();
  lab.close();
});

test('a full disk is said as such, and what was written goes away', async () => {
  const small = mkdtempSync(join(tmpdir(), 'small-'));
  mount('tmpfs', small, 'tmpfs', 0, 'size=64k');
  try {
    const upper = join(small, 'upper');
    mkdirSync(upper);
    const run = files.transfer({ ...lab.request('COPY . /x'), upper }, new AbortController().signal);
    await expect(run).rejects.toMatchObject({ code: 'insufficient_storage' });
    expect(readdirSync(upper)).toEqual([]);
  } finally {
    unmount(small, MNT_DETACH);
    rmSync(small, { recursive: true });
  }
});

describe('an archive of any names and links', () => {
  const part = fc.constantFrom('a', 'b', 'c', '..', '.', '', 'd');
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const member: fc.Arbitrary<TestMember> = fc
    .record({
      name: path,
      flag: fc.constantFrom('0', '1', '2', '5', '6', '3'),
      linkName: fc.oneof(
        path,
        path.map((text) => `/${text}`),
        path.map((text) => `../../../../${text}`),
      ),
      mode: fc.constantFrom(0o644, 0o4755, 0o1777, 0),
    })
    .map((made) => (made.flag === '0' ? { ...made, data: Buffer.from('data') } : made));

  test('writes below its directory alone, or is refused', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'outside-'));
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(member, { minLength: 1, maxLength: 12 }), async (members) => {
          const directory = mkdtempSync(join(outside, 'in-'));
          const tree = join(directory, 'tree');
          mkdirSync(tree);
          const limits = { idBase: ID_BASE, idCount: ID_COUNT, maxBytes: 1 << 20, maxEntries: 1000, check: () => {} };
          const merge = new ContextMerge({ directory: tree, ...limits });
          try {
            await merge.add(
              'hostile',
              (async function* () {
                yield buildTar(members);
              })(),
            );
            merge.finish();
          } catch (error) {
            expect(error).toMatchObject({ code: 'invalid_request' });
          }
          expect(readdirSync(directory)).toEqual(['tree']);
          for (const { uid, type } of Object.values(describeTree(tree, { idBase: ID_BASE }))) {
            expect(type).not.toBe('device');
            expect([0, -ID_BASE]).toContain(uid);
          }
          rmSync(directory, { recursive: true });
        }),
        { numRuns: 150 },
      );
      expect(readdirSync(outside)).toEqual([]);
    } finally {
      rmSync(outside, { recursive: true, force: true });
    }
  });
});
