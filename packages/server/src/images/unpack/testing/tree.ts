import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { getXattr, listXattrs } from '../../../platform/libc.ts';

export interface TreeNode {
  type: string;
  mode: string;
  uid: number;
  gid: number;
  mtimeNs: bigint;
  /** Files and symlinks only, as directories' sizes are the file system's own affair. */
  size?: bigint;
  /** Digest of the content, or the target of a symlink. */
  content?: string;
  /** The first path of the same inode, where another one is in the tree. */
  linkedTo?: string;
  xattrs?: Record<string, string>;
}

export interface TreeOptions {
  /** Subtracted from ids, and from the root id in capabilities. */
  idBase?: number;
  /** Attributes of these names are left out. */
  withoutXattrs?: RegExp;
}

/** Everything that can be seen of a tree, by path (latin1), to compare one with another. */
export function describeTree(root: string, options: TreeOptions = {}): Record<string, TreeNode> {
  const nodes: Record<string, TreeNode> = {};
  const inodes = new Map<string, string>();
  const visit = (path: Buffer, name: string) => {
    const node = describeNode(path, name, { nodes, inodes, ...options });
    nodes[name] = node;
    if (node.type !== 'directory') return;
    for (const child of readdirSync(path, { encoding: 'buffer' }).sort(Buffer.compare)) {
      visit(Buffer.concat([path, Buffer.from('/'), child]), `${name}/${child.toString('latin1')}`);
    }
  };
  visit(Buffer.from(root), '');
  return nodes;
}

interface Walk extends TreeOptions {
  nodes: Record<string, TreeNode>;
  inodes: Map<string, string>;
}

function describeNode(path: Buffer, name: string, { nodes, inodes, ...options }: Walk): TreeNode {
  const stats = lstatSync(path, { bigint: true });
  const idBase = options.idBase ?? 0;
  const node: TreeNode = {
    type: typeOf(stats),
    mode: (Number(stats.mode) & 0o7777).toString(8),
    uid: Number(stats.uid) - idBase,
    gid: Number(stats.gid) - idBase,
    mtimeNs: stats.mtimeNs,
  };
  if (stats.isFile()) {
    node.size = stats.size;
    node.content = stats.size > 1n << 28n ? 'large' : createHash('sha256').update(readFileSync(path)).digest('hex');
  }
  if (stats.isSymbolicLink()) node.content = readlinkSync(path, { encoding: 'buffer' }).toString('latin1');
  if (!stats.isDirectory() && stats.nlink > 1n) {
    const inode = `${stats.dev}:${stats.ino}`;
    const first = inodes.get(inode);
    if (first === undefined) inodes.set(inode, name);
    else {
      node.linkedTo = first;
      const firstNode = nodes[first];
      if (firstNode !== undefined) firstNode.linkedTo = first;
    }
  }
  const xattrs = xattrsOf(path, idBase, options.withoutXattrs);
  if (Object.keys(xattrs).length > 0) node.xattrs = xattrs;
  return node;
}

function typeOf(stats: { isDirectory(): boolean; isSymbolicLink(): boolean; isFile(): boolean; isFIFO(): boolean }) {
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFile()) return 'file';
  return stats.isFIFO() ? 'fifo' : 'device';
}

function xattrsOf(path: Buffer, idBase: number, without: RegExp | undefined): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of listXattrs(path).sort()) {
    if (without?.test(name) === true) continue;
    const value = getXattr(path, name) ?? Buffer.alloc(0);
    found[name] = (name === 'security.capability' ? capabilityForRoot(value, idBase) : value).toString('hex');
  }
  return found;
}

/** A capability of revision 3 for the range's root, as one of revision 2: what it means inside. */
function capabilityForRoot(value: Buffer, idBase: number): Buffer {
  if (value.length !== 24 || value.readUInt32LE(20) !== idBase) return value;
  const plain = Buffer.from(value.subarray(0, 20));
  plain.writeUInt32LE(((plain.readUInt32LE(0) & 0x00ff_ffff) | 0x0200_0000) >>> 0, 0);
  return plain;
}
