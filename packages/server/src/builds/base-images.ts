import type { ImageConfig } from '../images/types.ts';

export interface BaseImage {
  /** With the digest. */
  resolved: string;
  /** Ids of layers, base first; all are in the layer store. */
  layers: string[];
  config: ImageConfig;
  sizeBytes: number;
}

export interface BaseImages {
  /**
   * Asks the registry what the reference means now, and pulls what is missing. Where the registry cannot be reached (and only then: not when
   * it refuses), the image that the reference meant for this organization the last time is used, and `note` says so. Raises
   * `BuildFailure`, or the signal's reason.
   */
  obtain(
    request: { organizationId: string; reference: string; maxBytes: number; note: (text: string) => void },
    signal: AbortSignal,
  ): Promise<BaseImage>;
}
