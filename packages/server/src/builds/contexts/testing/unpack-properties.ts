import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { anyArchive } from '../../../images/tar/testing/tar-properties.ts';
import { ID_BASE, ID_COUNT } from '../../../images/unpack/testing/layer-blob.ts';
import { describeTree } from '../../../images/unpack/testing/tree.ts';
import { unpackArchive } from '../../../images/unpack/testing/unpack-archive.ts';
import { DarkroomError } from '../../../platform/errors.ts';
import type { Property } from '../../../test-support/property.ts';
import { ContextMerge } from '../merge-context.ts';

const MAX_BYTES = 1 << 20;

/** A directory to unpack into, and one beside it that nothing may touch. */
async function untouched(unpack: (directory: string) => Promise<void>, codes: readonly string[]): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'unpack-fuzz-'));
  try {
    mkdirSync(join(base, 'victim'));
    writeFileSync(join(base, 'victim/file'), 'untouched');
    symlinkSync('victim', join(base, 'x'));
    mkdirSync(join(base, 'layer'));
    const before = others(base);
    try {
      await unpack(join(base, 'layer'));
    } catch (error) {
      if (!(error instanceof DarkroomError) || !codes.includes(error.code)) throw error;
    }
    if (others(base) !== before) throw new Error('something outside of the directory has changed');
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

function others(base: string): string {
  const tree = describeTree(base);
  const kept = Object.entries(tree).filter(([path]) => path !== '' && path !== '/layer' && !path.startsWith('/layer/'));
  return JSON.stringify(kept, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
}

async function* inOne(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Needs root. */
export function unpackProperties(): Property[] {
  return [
    {
      name: 'a layer stays in its directory',
      runs: 250,
      check: fc.asyncProperty(anyArchive, (archive) =>
        untouched(
          async (directory) => void (await unpackArchive(archive, directory, { maxBytes: MAX_BYTES })),
          ['image_invalid'],
        ),
      ),
    },
    {
      name: 'a context stays in its directory',
      runs: 250,
      check: fc.asyncProperty(fc.array(anyArchive, { minLength: 1, maxLength: 2 }), (archives) =>
        untouched(
          async (directory) => {
            const merge = new ContextMerge({
              directory,
              idBase: ID_BASE,
              idCount: ID_COUNT,
              maxBytes: MAX_BYTES,
              maxEntries: 1000,
              check: () => {},
            });
            for (const archive of archives) await merge.add('fuzz', inOne(archive));
            merge.finish();
          },
          ['invalid_request', 'payload_too_large'],
        ),
      ),
    },
  ];
}
