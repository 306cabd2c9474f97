import { chmodSync, closeSync, constants, lchownSync, lstatSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';
import { getXattr, listXattrs, setXattr } from '../../platform/libc.ts';
import { setFileTime } from '../../platform/libc-inode.ts';
import type { OpenRoot } from './find-place.ts';
import { holdPlace, makePlace, pathOf } from './held-place.ts';

export interface MissingPlace {
  /** A real path in the tree, of a directory that is there. */
  under: string;
  names: readonly string[];
  kind: 'directory' | 'file';
}

/**
 * A layer of places to mount on. Overlayfs shows a directory with the attributes of the topmost layer that has it, and copies
 * these up: so what is there already looks in the layer as it does in the merged tree, which is at `view.at` in the root.
 */
export function addStubs(
  stubs: string,
  view: { root: OpenRoot; at: string },
  missing: readonly MissingPlace[],
  idBase: number,
): void {
  mkdirSync(stubs, { recursive: true, mode: 0o755 });
  const attributes = new Map(
    missing
      .flatMap(({ under }) => ancestors(under))
      .map((path) => [path, readAttributes(view.root, inTree(view.at, path))] as const),
  );
  for (const [path, known] of attributes) {
    makeDirectory(join(stubs, path));
    copyAttributes(known, join(stubs, path));
  }
  for (const { under, names, kind } of missing) {
    const directory = openSync(join(stubs, under), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      makePlace(directory, names, kind, idBase);
    } finally {
      closeSync(directory);
    }
  }
  for (const [path, { mtimeNs }] of [...attributes].reverse()) {
    setFileTime(join(stubs, path), Number(mtimeNs / NANO), Number(mtimeNs % NANO));
  }
}

const inTree = (at: string, path: string) => (path === '/' ? at : join(at, path));

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

function readAttributes(root: OpenRoot, place: string): Attributes {
  const fd = holdPlace(root, place);
  try {
    return attributesAt(`${pathOf(fd)}/.`);
  } finally {
    closeSync(fd);
  }
}

function attributesAt(path: string): Attributes {
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
