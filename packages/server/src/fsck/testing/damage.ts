import { closeSync, openSync, readSync, statSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createLayerVerifier } from '../../images/health/verify-layer.ts';
import type { Layer } from '../../images/types.ts';
import type { Depth } from '../types.ts';
import type { FsckLab } from './fsck-lab.ts';

export const kinds = (findings: readonly { kind: string; outcome: string }[]) =>
  findings.map(({ kind, outcome }) => `${kind} ${outcome}`).sort();

/** All of it is found, and found again since looking changes nothing; repaired; and nothing is left to find. */
export async function expectRepair(lab: FsckLab, wanted: readonly string[], depth: Depth = 'files', more = {}) {
  const all = (outcome: string) => wanted.map((kind) => `${kind} ${outcome}`).sort();
  const found = await lab.find(depth, more);
  expect(kinds(found)).toEqual(all('found'));
  expect(kinds(await lab.find(depth, more))).toEqual(all('found'));
  const repaired = await lab.repair(depth, more);
  expect(kinds(repaired)).toEqual(all('repaired'));
  expect(await lab.repair(depth, more)).toEqual([]);
  return repaired;
}

/** As a bad disk does it: nothing but the bytes changes. */
export function flipByte(path: string, at = 0): void {
  const { atime, mtime } = statSync(path);
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  writeSync(fd, Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, at);
  closeSync(fd);
  utimesSync(path, atime, mtime);
}

/** Times that can be written as they are read. */
const THEN = new Date(1_000_000_000_000);

export async function makeBuilt(lab: FsckLab, files: Record<string, string>): Promise<Layer> {
  const layer = await lab.layers.make(async (directory) => {
    let sizeBytes = 0;
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(directory, name), content);
      utimesSync(join(directory, name), THEN, THEN);
      sizeBytes += content.length;
    }
    return { sizeBytes };
  });
  if (layer === undefined) throw new Error('no layer was made');
  return recorded(layer);
}

export const stateOf = (lab: FsckLab, table: 'snapshots' | 'sandboxes', id: string) =>
  lab.db.selectFrom(table).select(['state', 'error_reason']).where('id', '=', id).executeTakeFirstOrThrow();

export const reasonsOf = async (lab: FsckLab, id: string) =>
  (await lab.db.selectFrom('events').selectAll().where('subject_id', '=', id).orderBy('id').execute())
    .filter(({ actor }) => actor === 'system:fsck')
    .map(({ reason }) => reason);

/** With what its files are, as they are written down some seconds later. */
export async function recorded(layer: Layer): Promise<Layer> {
  const verifier = createLayerVerifier();
  await verifier.recordLayer(layer.path, { contents: true, signal: AbortSignal.timeout(10_000) });
  await verifier.close();
  return layer;
}
