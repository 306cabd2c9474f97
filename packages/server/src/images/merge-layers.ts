import type { Dir, Dirent } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { errnoOf } from '../platform/errors.ts';
import { getXattr, listXattrs, removeXattr, setXattr } from '../platform/libc.ts';
import { run } from '../platform/process.ts';

const OPAQUE = 'trusted.overlay.opaque';
const YES = Buffer.from('y');
/** Gigabytes on a slow disk, at the lowest priority. */
const TOOL_MS = 30 * 60_000;
const SLASH = Buffer.from('/');
/** Names that are read at once; a directory may have millions. */
const NAMES = 128;
/** Paths of up to 4 KiB. */
const DOOMED = 256;

/**
 * Puts layers, base first, together into one in an empty directory. It shows over anything what they show over it: whiteouts and opaque
 * directories stay, since what they hide may lie below all of them. The layers do not change meanwhile.
 */
export async function mergeLayers(layers: readonly string[], directory: string, signal: AbortSignal): Promise<void> {
  for (const layer of layers) {
    const opaque: Buffer[] = [];
    await clearTheWay(Buffer.from(layer), Buffer.from(directory), { opaque, doomed: [], signal });
    // What is replaced is removed first: it may be one file under several names, of which the others stay as they are.
    // Asked for by name, attributes that cannot be kept are a failure.
    const kept = '--preserve=mode,ownership,timestamps,links,xattr';
    const args = [
      '--no-dereference',
      '--recursive',
      kept,
      '--remove-destination',
      '--reflink=auto',
      '--sparse=auto',
      '--no-target-directory',
    ];
    await tool('cp', [...args, '--', layer, directory], signal);
    // Where a layer has a directory in the place of something that was hidden, or no directory, in one before it.
    for (const path of opaque) setXattr(path, OPAQUE, YES);
  }
}

interface Way {
  opaque: Buffer[];
  /** What is removed when it is many, or the last: a process for each would take longer than its work. */
  doomed: Buffer[];
  signal: AbortSignal;
}

/** Takes away what is in the way of a layer's entries, or must not show under them. */
async function clearTheWay(layer: Buffer, merged: Buffer, way: Way): Promise<void> {
  // One reader for each directory of the way down, which is as deep as paths are long; what waits in them is all that is kept.
  const open: { reader: Dir; path: Buffer }[] = [];
  try {
    open.push({ reader: await readerOf(layer), path: Buffer.alloc(0) });
    for (let at = open.at(-1); at !== undefined; at = open.at(-1)) {
      const entry = await at.reader.read();
      if (entry === null) {
        open.pop();
        await at.reader.close();
        continue;
      }
      way.signal.throwIfAborted();
      const below = Buffer.concat([at.path, SLASH, Buffer.from(entry.name, 'latin1')]);
      const target = Buffer.concat([merged, below]);
      const before = await statOf(target);
      // Then nothing of what is in it is there either.
      if (before === undefined) continue;
      const above = Buffer.concat([layer, below]);
      if (entry.isDirectory() && before.isDirectory() && !isOpaque(above)) {
        forgetAttributes(target, above);
        open.push({ reader: await readerOf(above), path: below });
      } else await replace(entry, target, before.isDirectory(), way);
    }
    await removeDoomed(way);
  } finally {
    for (const { reader } of open) await reader.close();
  }
}

/** One letter for each byte, which is the way to have names of any bytes here. */
const readerOf = (path: Buffer) => opendir(path, { encoding: 'latin1', bufferSize: NAMES });

/** Of a directory that stays, those that the layer has taken away; the others are copied. */
function forgetAttributes(target: Buffer, above: Buffer): void {
  const there = new Set(listXattrs(above));
  for (const name of listXattrs(target)) if (name !== OPAQUE && !there.has(name)) removeXattr(target, name);
}

async function replace(
  entry: Pick<Dirent, 'isDirectory'>,
  target: Buffer,
  wasDirectory: boolean,
  way: Way,
): Promise<void> {
  if (entry.isDirectory()) way.opaque.push(target);
  // One file over another is the tool's.
  else if (!wasDirectory) return;
  way.doomed.push(target);
  if (way.doomed.length >= DOOMED) await removeDoomed(way);
}

const isOpaque = (path: Buffer) => getXattr(path, OPAQUE)?.equals(YES) === true;

async function statOf(path: Buffer) {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The names come by the tool's input, where they may be any bytes, which arguments of processes here may not. */
async function removeDoomed({ doomed, signal }: Way): Promise<void> {
  if (doomed.length === 0) return;
  const input = Buffer.concat(doomed.splice(0).flatMap((path) => [path, Buffer.of(0)]));
  await run('xargs', ['--null', 'rm', '-rf', '--one-file-system', '--'], { timeoutMs: TOOL_MS, input, signal });
}

/** Nobody waits for it. */
function tool(command: string, args: readonly string[], signal: AbortSignal) {
  return run('nice', ['-n', '19', command, ...args], { timeoutMs: TOOL_MS, signal });
}
