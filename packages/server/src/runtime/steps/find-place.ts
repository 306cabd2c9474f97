import { closeSync, constants, fstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import { readLinkOf } from '../../platform/libc-files.ts';
import { locate } from '../container/container-root.ts';

/** An open root directory, and the path of the host that leads to it. Steps that share a cache may change what is in it meanwhile. */
export interface OpenRoot {
  fd: number;
  path: string;
}

/** Where a path leads in a root: real paths there, without links. */
export type Place =
  | { found: string; isDirectory: boolean }
  /** Of the directory `under`, which is there, these names below one another are not. */
  | { under: string; missing: readonly string[] };

const MAX_LINKS = 40;

export function findPlace(root: OpenRoot, path: string): Place {
  const found = realPlace(root, path);
  if (found !== undefined) return found;
  const place = walk(root, path);
  // A link may go up again from what is missing: the kernel does not follow that, also when its end is there.
  return 'missing' in place ? (realPlace(root, join(place.under, ...place.missing)) ?? place) : place;
}

export const isWithin = (path: string, directory: string) =>
  path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);

/** Where in the root something is that was opened there. */
export function pathIn(root: OpenRoot, fd: number): string {
  const real = readlinkSync(`/proc/self/fd/${fd}`);
  return real === root.path ? '/' : real.slice(root.path.length);
}

function realPlace(root: OpenRoot, path: string): Place | undefined {
  let fd: number;
  try {
    fd = locate(root.fd, path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw placeError(error, path);
  }
  try {
    return { found: pathIn(root, fd), isDirectory: fstatSync(fd).isDirectory() };
  } finally {
    closeSync(fd);
  }
}

/** Name by name, because a link may lead to something that is missing. */
function walk(root: OpenRoot, path: string): Place {
  let at = '/';
  let links = 0;
  const names = namesOf(path);
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === '..') {
      at = join(at, '..');
      continue;
    }
    const target = readLink(root, join(at, name), path);
    if (target === undefined) return { under: at, missing: lexically([name, ...names], path) };
    if (target === '') {
      at = join(at, name);
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw invalidRequest(`the mount target ${path} leads through too many links`);
    if (target.startsWith('/')) at = '/';
    names.unshift(...namesOf(target));
  }
  const place = realPlace(root, at);
  if (place === undefined) throw invalidRequest(`the mount target ${path} cannot be resolved`);
  return place;
}

const namesOf = (path: string) => path.split('/').filter((name) => name !== '' && name !== '.');

/** Below what is not there, no link changes what `..` means. */
function lexically(names: readonly string[], path: string): string[] {
  const kept: string[] = [];
  for (const name of names) {
    if (name !== '..') kept.push(name);
    else if (kept.pop() === undefined) throw invalidRequest(`the mount target ${path} cannot be resolved`);
  }
  if (kept.length === 0) throw invalidRequest(`the mount target ${path} cannot be resolved`);
  return kept;
}

/** What a link leads to, `''` for anything that is no link; undefined when there is nothing. */
function readLink(root: OpenRoot, path: string, wanted: string): string | undefined {
  let fd: number;
  try {
    fd = locate(root.fd, path, constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw placeError(error, wanted);
  }
  try {
    return fstatSync(fd).isSymbolicLink() ? readLinkOf(fd).toString() : '';
  } finally {
    closeSync(fd);
  }
}

function placeError(error: unknown, path: string): unknown {
  switch (errnoOf(error)) {
    case 'ENOTDIR':
      return invalidRequest(`the mount target ${path} lies below something that is no directory`, { cause: error });
    case 'ELOOP':
      return invalidRequest(`the mount target ${path} leads through too many links`, { cause: error });
    case 'ENAMETOOLONG':
      return invalidRequest(`the mount target ${path} is too long`, { cause: error });
    default:
      return error;
  }
}
