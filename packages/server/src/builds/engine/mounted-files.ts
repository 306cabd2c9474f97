import { lstatSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { word } from '../dockerfile/scope.ts';
import type { SourceTree, TransferInstruction } from '../files/transfer-types.ts';
import { cleanPath } from '../files/tree-path.ts';
import { chainOf } from './key-parts.ts';
import { userFailure } from './step-failure.ts';
import { layerPaths } from './step-sources.ts';
import type { StepPlace } from './step-types.ts';

/** Files of the context, a stage or an image that a mount shows. */
export interface MountedFiles {
  /** Below the root of where they are. */
  path: string;
  digest: string;
  open(signal: AbortSignal): Promise<OpenMountedFiles>;
  /** Copies them to a path where nothing is. */
  copyTo(target: string, signal: AbortSignal): Promise<void>;
}

export interface OpenMountedFiles {
  /** Layers, base first; or a directory of the mount's own. */
  root: readonly string[] | string;
  path: string;
  release(): Promise<void>;
}

interface Place {
  from: string | undefined;
  source: string;
}

/** Raises `invalid_request` for a path that is not there. */
export async function mountedFiles(
  { from, source: written }: Place,
  line: number,
  place: StepPlace,
): Promise<MountedFiles> {
  const { tools, state, sources, signal } = place;
  const path = cleanPath(word(state.scope, line, written));
  const { source, layers, chain } = await find(from, sources);
  const instruction = copyOf(path);
  const isWhole = path === '' && chain !== undefined;
  // Whole images are known by their layers; to read all their files would take longer than most steps.
  const maxBytes = place.definition.limits.diskBytes;
  const digest = isWhole
    ? chain
    : await tools.files.digest({ instruction, source, fetched: new Map(), maxBytes }, signal);

  /** As COPY does it, large files share their blocks. The layer's directory, with the files as `files` in it. */
  async function copy(scratch: string, copySignal: AbortSignal): Promise<string> {
    const upper = join(scratch, 'upper');
    await mkdir(upper);
    const below = { workingDirectory: '/', parent: undefined, upper, maxBytes };
    await tools.files.transfer({ instruction, source, fetched: new Map(), ...below }, copySignal);
    return upper;
  }

  return {
    path,
    digest,
    async open(openSignal) {
      if (source.ignore === undefined) return { root: layers, path, release: async () => {} };
      // What a .dockerignore leaves out must not be seen.
      const scratch = await tools.scratch.make();
      const release = () => tools.scratch.remove(scratch);
      try {
        return { root: await copy(scratch, openSignal), path: NAME, release };
      } catch (error) {
        await release();
        throw error;
      }
    },
    async copyTo(target, copySignal) {
      const scratch = await tools.scratch.make();
      try {
        const upper = await copy(scratch, copySignal);
        if (!lstatSync(join(upper, NAME)).isDirectory()) {
          throw userFailure(`a cache cannot begin with /${path}, which is no directory`);
        }
        await tools.scratch.move(join(upper, NAME), target);
      } finally {
        await tools.scratch.remove(scratch);
      }
    },
  };
}

const NAME = 'files';

async function find(from: string | undefined, sources: StepPlace['sources']): Promise<Found> {
  if (from === undefined) {
    const { source, layers } = await sources.context();
    return { source, layers, chain: undefined };
  }
  const { source, layers } = await sources.named(from);
  return { source, layers: layerPaths(layers), chain: chainOf(layers) };
}

interface Found {
  source: SourceTree;
  layers: readonly string[];
  /** Of layers that are known by name. */
  chain: string | undefined;
}

function copyOf(path: string): TransferInstruction {
  return {
    kind: 'copy',
    // A mount's path is no pattern; a class of one character is that character.
    sources: [`/${path.replace(/[*?[]/g, '[$&]')}`],
    target: `/${NAME}`,
    heredocs: [],
    chown: undefined,
    chmod: undefined,
    exclude: [],
    parents: false,
    link: false,
    unpack: false,
  };
}
