import type { Layer } from '../../images/types.ts';
import type { SourceTree } from '../files/transfer-types.ts';
import type { BuildContext } from './build-context.ts';

/** The merged files of a stage or an image. */
export interface LayeredSource {
  layers: readonly Layer[];
  /** Open until the build ends. */
  source: SourceTree;
}

/** Where the steps of a build get files from. Both are made with the first that asks, for all that do. */
export interface StepSources {
  context(): Promise<BuildContext>;
  /** By the name of a stage that stands above, or the reference of an image. */
  named(name: string): Promise<LayeredSource>;
  /** For what reads no files. */
  nothing(): Promise<SourceTree>;
}

export function layerPaths(layers: readonly Layer[]): string[] {
  return layers.map(({ path }) => path);
}
