import { describeTree, type TreeNode } from '../../../images/unpack/testing/tree.ts';

/** One line for each file: path, type, mode, owner, content or target, links, attributes, and the time where it is an old one. */
export function describeLines(root: string, idBase: number): string[] {
  const tree = describeTree(root, { idBase, withoutXattrs: /^(trusted\.|security\.selinux$)/ });
  return Object.entries(tree).map(([path, node]) => `${path || '/'} ${nodeText(node)}`);
}

const NOW_SINCE = 1_700_000_000n * 1_000_000_000n;

function nodeText(node: TreeNode): string {
  // What no archive lists has no time in a layer of ours.
  const isOld = node.mtimeNs > 0n && node.mtimeNs < NOW_SINCE;
  const time = isOld ? String(node.mtimeNs / 1_000_000_000n) : 'now';
  const parts = [node.type, node.mode, `${node.uid}:${node.gid}`, time];
  if (node.content !== undefined)
    parts.push(node.type === 'symlink' ? `-> ${node.content}` : node.content.slice(0, 12));
  if (node.linkedTo !== undefined) parts.push(`= ${node.linkedTo}`);
  for (const [name, value] of Object.entries(node.xattrs ?? {})) parts.push(`${name}=${value}`);
  return parts.join(' ');
}
