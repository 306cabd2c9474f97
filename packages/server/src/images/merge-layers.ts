import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { errnoOf } from '../platform/errors.ts';
import { getXattr, listXattrs, removeXattr, setXattr } from '../platform/libc.ts';
import { run } from '../platform/process.ts';

const OPAQUE = 'trusted.overlay.opaque';
const YES = Buffer.from('y');
/** Gigabytes on a slow disk, at the lowest priority. */
const TOOL_MS = 30 * 60_000;
const SLASH = Buffer.from('/');

/**
 * Puts layers, base first, together into one in an empty directory. It shows over anything what they show over it: whiteouts and opaque
 * directories stay, since what they hide may lie below all of them. The layers do not change meanwhile.
 */
export async function mergeLayers(layers: readonly string[], directory: string, signal: AbortSignal): Promise<void> {
  for (const layer of layers) {
    const opaque: Buffer[] = [];
    await clearTheWay(Buffer.from(layer), Buffer.from(directory), { opaque, signal });
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
  signal: AbortSignal;
}

/** Takes away what is in the way of a layer's entries, or must not show under them. */
async function clearTheWay(layer: Buffer, merged: Buffer, way: Way): Promise<void> {
  // Not by recursion: a tree may be as deep as paths are long.
  const left: Buffer[] = [Buffer.alloc(0)];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    way.signal.throwIfAborted();
    for (const entry of await readdir(Buffer.concat([layer, path]), { withFileTypes: true, encoding: 'buffer' })) {
      const below = Buffer.concat([path, SLASH, entry.name]);
      const target = Buffer.concat([merged, below]);
      const before = await statOf(target);
      // Then nothing of what is in it is there either.
      if (before === undefined) continue;
      const above = Buffer.concat([layer, below]);
      if (entry.isDirectory() && before.isDirectory() && !isOpaque(above)) {
        forgetAttributes(target, above);
        left.push(below);
      } else await replace(entry, target, before.isDirectory(), way);
    }
  }
}

/** Of a directory that stays, those that the layer has taken away; the others are copied. */
function forgetAttributes(target: Buffer, above: Buffer): void {
  const there = new Set(listXattrs(above));
  for (const name of listXattrs(target)) if (name !== OPAQUE && !there.has(name)) removeXattr(target, name);
}

async function replace(
  entry: Dirent<Buffer>,
  target: Buffer,
  wasDirectory: boolean,
  { opaque, signal }: Way,
): Promise<void> {
  if (entry.isDirectory()) opaque.push(target);
  // One file over another is the tool's.
  else if (!wasDirectory) return;
  // By name: it may be any bytes, which arguments of processes here may not.
  await removeBytes(target, signal);
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

/** The names come by the tool's input, where they may be any bytes. */
function removeBytes(path: Buffer, signal: AbortSignal) {
  const input = Buffer.concat([path, Buffer.of(0)]);
  return run('xargs', ['--null', 'rm', '-rf', '--one-file-system', '--'], { timeoutMs: TOOL_MS, input, signal });
}

/** Nobody waits for it. */
function tool(command: string, args: readonly string[], signal: AbortSignal) {
  return run('nice', ['-n', '19', command, ...args], { timeoutMs: TOOL_MS, signal });
}
