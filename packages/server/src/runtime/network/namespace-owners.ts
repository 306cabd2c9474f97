import { readFileSync } from 'node:fs';

/** Which host id a sandbox's user namespace is made under. Nothing ever runs as one of them. */
export type OwnerOf = (index: number) => number;

const ROOT = 0;

/**
 * The ids behind those of the sandboxes, one each. A server that is itself in a user namespace may have none to give; then it
 * is its root, and the kernel's counts for each user are shared by all sandboxes.
 */
export function namespaceOwners({ idBase, idCount }: { idBase: number; idCount: number }): OwnerOf {
  const first = idBase + idCount;
  const mapped = rangesOf(readFileSync('/proc/self/uid_map', 'utf8'));
  return (index) => (mapped.some(({ from, to }) => first + index >= from && first + index < to) ? first + index : ROOT);
}

/** uid_map(5): first id inside, first id outside, how many. */
export function rangesOf(uidMap: string): { from: number; to: number }[] {
  return uidMap
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([from = 0, , count = 0]) => ({ from, to: from + count }));
}
