import { chmodSync, lchownSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';
import { getXattr, listXattrs, setXattr } from '../../platform/libc.ts';
import { setFileTime } from '../../platform/libc-inode.ts';

export interface MissingPlace {
  /** A real path in the tree, of a directory that is there. */
  under: string;
  names: readonly string[];
  kind: 'directory' | 'file';
}

/**
 * A layer of places to mount on. Overlayfs shows a directory with the attributes of the topmost layer that has it, and copies
 * these up: so what is there already looks in the layer as it does in `view`, the path of the merged tree.
 */
export function addStubs(stubs: string, view: string, missing: readonly MissingPlace[], idBase: number): void {
  mkdirSync(stubs, { recursive: true, mode: 0o755 });
  const attributes = new Map(
    missing.flatMap(({ under }) => ancestors(under)).map((path) => [path, readAttributes(join(view, path))] as const),
  );
  for (const [path, known] of attributes) {
    makeDirectory(join(stubs, path));
    copyAttributes(known, join(stubs, path));
  }
  for (const { under, names, kind } of missing) makePlace(join(stubs, under), names, kind, idBase);
  for (const [path, { mtimeNs }] of [...attributes].reverse()) {
    setFileTime(join(stubs, path), Number(mtimeNs / NANO), Number(mtimeNs % NANO));
  }
}

/** What is to be mounted on, with the directories before it. They belong to the root of the step. */
export function makePlace(under: string, names: readonly string[], kind: 'directory' | 'file', idBase: number): void {
  let path = under;
  for (const [index, name] of names.entries()) {
    path = join(path, name);
    if (kind === 'file' && index === names.length - 1) writeFileSync(path, '', { flag: 'a', mode: 0o644 });
    else makeDirectory(path);
    lchownSync(path, idBase, idBase);
  }
}

const NANO = 1_000_000_000n;

/** From the root down. */
function ancestors(path: string): string[] {
  const names = path.split('/').filter(Boolean);
  return ['/', ...names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`)];
}

interface Attributes {
  uid: number;
  gid: number;
  mode: number;
  mtimeNs: bigint;
  xattrs: (readonly [name: string, value: Buffer])[];
}

function readAttributes(path: string): Attributes {
  const { uid, gid, mode, mtimeNs } = lstatSync(path, { bigint: true });
  const xattrs = listXattrs(path)
    .filter((name) => !name.startsWith('trusted.'))
    .flatMap((name) => {
      const value = getXattr(path, name);
      return value === undefined ? [] : [[name, value] as const];
    });
  return { uid: Number(uid), gid: Number(gid), mode: Number(mode) & 0o7777, mtimeNs, xattrs };
}

function copyAttributes({ uid, gid, mode, xattrs }: Attributes, path: string): void {
  lchownSync(path, uid, gid);
  for (const [name, value] of xattrs) setXattr(path, name, value);
  chmodSync(path, mode);
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o755 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}
