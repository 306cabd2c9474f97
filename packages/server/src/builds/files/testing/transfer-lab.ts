import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildTar } from '../../../images/tar/testing/build-tar.ts';
import { ID_BASE, ID_COUNT } from '../../../images/unpack/testing/layer-blob.ts';
import { unpackArchive } from '../../../images/unpack/testing/unpack-archive.ts';
import { MNT_DETACH, unmount } from '../../../platform/libc.ts';
import { createOverlayMounter } from '../../../runtime/container/overlay.ts';
import { ContextMerge } from '../../contexts/merge-context.ts';
import { parseDockerfile } from '../../dockerfile/parse.ts';
import { carryOut } from '../carry-out.ts';
import { transferInstruction } from '../transfer-instruction.ts';
import type { SourceTree, TransferRequest, TransferResult } from '../transfer-types.ts';
import { ACCOUNTS, basesIn, contextMembers, OTHER } from './fixture-trees.ts';

const SCOPE = { escapeChar: '\\', env: new Map<string, string>(), args: new Map<string, string>() } as const;

/** A base layer, a stage and a context on disk, to carry out instructions over. */
export interface TransferLab {
  root: string;
  context: SourceTree;
  /** Carries the instruction out into a layer of its own, and shows the merged tree. */
  run(text: string, options?: LabRun): Promise<LabResult>;
  request(text: string, options?: LabRun): TransferRequest;
  close(): void;
}

export interface LabRun {
  workingDirectory?: string;
  context?: Partial<SourceTree>;
  fetched?: TransferRequest['fetched'];
  maxBytes?: number;
  maxEntries?: number;
}

export interface LabResult extends TransferResult {
  /** The layer alone. */
  upper: string;
  /** Mounted until the lab is closed or the next run. */
  merged: string;
}

export async function createTransferLab(directories: readonly string[] = ['']): Promise<TransferLab> {
  const root = mkdtempSync(join(tmpdir(), 'transfer-'));
  const path = (name: string) => join(root, name);
  await unpackArchive(buildTar([...ACCOUNTS, ...basesIn(directories)]), path('base'));
  await unpackArchive(buildTar(OTHER), path('other'));
  mkdirSync(path('context'));
  const merge = new ContextMerge({
    directory: path('context'),
    idBase: ID_BASE,
    idCount: ID_COUNT,
    maxBytes: 1 << 30,
    maxEntries: 10_000,
    check: () => {},
  });
  await merge.add('fixture', oneChunk(buildTar(contextMembers())));
  merge.finish();
  const descriptors = ['base', 'other', 'context'].map((name) =>
    openSync(path(name), constants.O_RDONLY | constants.O_DIRECTORY),
  );
  const [base = -1, other = -1, contextFd = -1] = descriptors;
  const context: SourceTree = { directory: contextFd, what: 'the build’s context' };
  const mountOverlay = createOverlayMounter();
  let runs = 0;
  let mounted: string | undefined;
  const unmountLast = () => {
    if (mounted !== undefined) unmount(mounted, MNT_DETACH);
    mounted = undefined;
  };

  function request(text: string, options: LabRun = {}): TransferRequest {
    const { stages } = parseDockerfile(`FROM scratch\n${text}\n`);
    const [instruction] = stages[0].instructions;
    if (instruction?.kind !== 'copy' && instruction?.kind !== 'add') throw new Error(`${text} is no COPY or ADD`);
    const isStage = instruction.kind === 'copy' && instruction.from !== undefined;
    const upper = path(`upper-${runs}`);
    return {
      instruction: transferInstruction(instruction, SCOPE),
      source: isStage ? { directory: other, what: 'stage "other"' } : { ...context, ...options.context },
      fetched: options.fetched ?? new Map(),
      workingDirectory: options.workingDirectory ?? '/work',
      parent: base,
      upper,
      maxBytes: options.maxBytes ?? 1 << 30,
    };
  }

  return {
    root,
    context,
    request,
    async run(text, options = {}) {
      unmountLast();
      runs += 1;
      const asked = request(text, options);
      mkdirSync(asked.upper);
      const limits = { idBase: ID_BASE, idCount: ID_COUNT, maxEntries: options.maxEntries ?? 100_000, check: () => {} };
      const result = await carryOut(asked, limits);
      const merged = path(`merged-${runs}`);
      const work = path(`work-${runs}`);
      const nothing = path(`nothing-${runs}`);
      for (const directory of [merged, work, nothing]) mkdirSync(directory);
      await mountOverlay({ layers: [path('base'), asked.upper], upper: nothing, work, target: merged });
      mounted = merged;
      return { ...result, upper: asked.upper, merged };
    },
    close() {
      unmountLast();
      for (const fd of descriptors) closeSync(fd);
      rmSync(root, { recursive: true, force: true });
    },
  };
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
