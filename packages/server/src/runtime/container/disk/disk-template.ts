import { chmodSync, chownSync, existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError, errnoOf, messageOf } from '../../../platform/errors.ts';
import { run } from '../../../platform/process.ts';
import { syncDirectory } from '../../../platform/sync-directory.ts';
import { BLOCK_SIZE } from './ext4-size.ts';

const TOOL_TIMEOUT_MS = 60_000;
const MIB = 1024 * 1024;
/** Less leaves no room beside the journal. */
export const MIN_DISK_BYTES = 16 * MIB;
const VERSION = 1;

export interface DiskTemplates {
  /** A formatted, empty disk of this size, to be cloned. Made once for each size and kept in the pool. */
  get(bytes: number): Promise<string>;
}

export interface DiskTemplateOptions {
  directory: string;
  /** For what is half made. */
  scratch: string;
  idBase: number;
}

export function createDiskTemplates(options: DiskTemplateOptions): DiskTemplates {
  const known = new Map<number, Promise<string>>();
  return {
    get(bytes) {
      let template = known.get(bytes);
      if (template === undefined) {
        template = makeTemplate(options, bytes);
        known.set(bytes, template);
        template.catch(() => known.delete(bytes));
      }
      return template;
    },
  };
}

async function makeTemplate({ directory, scratch, idBase }: DiskTemplateOptions, bytes: number): Promise<string> {
  const path = join(directory, `ext4-v${VERSION}-${idBase}-${bytes}.img`);
  if (existsSync(path)) return path;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const draft = await mkdtemp(join(scratch, 'new-sandbox-disk-'));
  try {
    const content = await emptyDisk(draft, idBase);
    const image = join(draft, 'image');
    const file = await open(image, 'wx', 0o600);
    try {
      await file.truncate(bytes);
      await run('mkfs.ext4', [...mkfsOptions(content), image], { timeoutMs: TOOL_TIMEOUT_MS });
      // The tables of inodes are zeros: as holes they take nothing of the pool until they are used.
      await run('fallocate', ['--dig-holes', image], { timeoutMs: TOOL_TIMEOUT_MS });
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(image, path);
    await syncDirectory(directory);
    return path;
  } catch (cause) {
    const full = errnoOf(cause) === 'ENOSPC';
    throw new DarkroomError(
      full ? 'insufficient_storage' : 'unavailable',
      `no disk could be formatted: ${messageOf(cause)}`,
      {
        hint: full
          ? 'The pool is full: delete snapshots or sandboxes.'
          : 'Install e2fsprogs; `darkroom doctor` shows what is missing.',
        cause,
      },
    );
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** What the overlay needs, there from the start: a clone is mounted and used as it is. */
async function emptyDisk(draft: string, idBase: number): Promise<string> {
  const content = join(draft, 'content');
  await mkdir(join(content, 'work'), { recursive: true, mode: 0o700 });
  const upper = join(content, 'upper');
  await mkdir(upper);
  chmodSync(upper, 0o755);
  chownSync(upper, idBase, idBase);
  return content;
}

/**
 * With a journal: what a sandbox synced is there after a power cut, and a disk that was not unmounted needs no check before its
 * next mount. Of the least size, because each sandbox has one. Nothing is left for the kernel to do after the mount (no lazy
 * tables), and nothing is kept for root, who is not in the sandbox.
 */
function mkfsOptions(content: string): string[] {
  const extended = 'lazy_itable_init=0,lazy_journal_init=0,nodiscard';
  return ['-q', '-F', '-b', String(BLOCK_SIZE), '-m', '0', '-J', 'size=4', '-E', extended, '-d', content];
}
