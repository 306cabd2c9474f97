import type { Stats } from 'node:fs';
import type { FileStat } from '../types.ts';

/** Shown for an id of the host that the sandbox has no number for, as inside. */
const NOBODY = 65534;

export function fileStat(stats: Stats, idBase: number): FileStat {
  const inside = (id: number) => (id >= idBase ? id - idBase : NOBODY);
  return {
    size: stats.size,
    mode: stats.mode,
    mtimeMs: stats.mtimeMs,
    atimeMs: stats.atimeMs,
    uid: inside(stats.uid),
    gid: inside(stats.gid),
  };
}
