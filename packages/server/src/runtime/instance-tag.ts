import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/**
 * Eight hex digits that name one state directory on this machine. Everything of the host that has a name and does not lie in
 * the state directory (cgroups, interfaces, nft tables) carries it, so that two Darkrooms never touch each other's things.
 */
export function instanceTag(stateDir: string): string {
  return createHash('sha256').update(canonicalPath(stateDir)).digest('hex').slice(0, 8);
}

/** The same directory through a symlink is the same Darkroom; one that is not made yet is named by its parent. */
function canonicalPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(canonicalPath(parent), basename(absolute));
  }
}
