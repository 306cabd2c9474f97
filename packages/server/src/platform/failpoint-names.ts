/**
 * Every failpoint: `area.what-has-just-happened`. Tests go through this list, so a name that no code passes fails them.
 */
export const FAILPOINTS = [
  // A layer is complete in its staging directory and on disk, but has not its name yet; it has its name.
  'seal.synced',
  'seal.renamed',
] as const;

export type Failpoint = (typeof FAILPOINTS)[number];
