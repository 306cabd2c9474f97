import type { Layer } from '../../images/types.ts';
import type { SourceTree } from '../files/transfer-types.ts';
import type { Hold } from './hold.ts';
import { chainOf } from './key-parts.ts';
import { type LayeredSource, layerPaths } from './step-sources.ts';
import type { StepTools } from './step-types.ts';

/** Merged trees of stages and images, each opened once and until the build ends. */
export interface OpenSources {
  open(layers: readonly Layer[], what: string): Promise<LayeredSource>;
  /** A tree without files, for what reads none. */
  nothing(): Promise<SourceTree>;
}

export function createOpenSources({ steps }: Pick<StepTools, 'steps'>, hold: Hold): OpenSources {
  const opened = new Map<string, Promise<number>>();

  async function openMerged(layers: readonly Layer[]): Promise<number> {
    const merged = await steps.openTree(layerPaths(layers));
    hold.add(() => merged.close());
    return merged.directory;
  }

  async function open(layers: readonly Layer[], what: string): Promise<LayeredSource> {
    const chain = chainOf(layers);
    const opening = opened.get(chain) ?? openMerged(layers);
    opened.set(chain, opening);
    const directory = await opening;
    return {
      layers,
      source: { directory, layers: layerPaths(layers).reverse(), what, identity: `layers ${chain}` },
    };
  }

  return { open, nothing: async () => (await open([], 'nothing')).source };
}
