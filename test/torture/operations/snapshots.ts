import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../client.ts';
import { type Files, inDoubt, only, type SandboxModel, type SnapshotFate, type SnapshotModel } from '../model.ts';
import type { Random } from '../random.ts';
import { Violation } from '../requests.ts';
import { RESTING_SNAPSHOT, untilState } from './wait.ts';

export function newSnapshot(
  client: Client,
  random: Random,
  files: Files,
  fates: readonly SnapshotFate[],
): SnapshotModel {
  const snapshot: SnapshotModel = {
    name: client.newName('snapshots', random),
    id: undefined,
    fates: new Set(fates),
    files,
    settled: false,
    depth: 0,
    owner: client.index,
    retained: false,
    verified: false,
  };
  client.model.snapshots.add(snapshot);
  return snapshot;
}

/** Often nobody waits, so that the server is killed while it works on it. What was answered becomes active all the same. */
export async function untilActive(client: Client, random: Random, snapshot: SnapshotModel): Promise<void> {
  snapshot.fates = only('active');
  snapshot.settled = false;
  if (random.chance(0.4)) return;
  const { state, errorReason } = await untilState(client.requests, `/snapshots/${snapshot.id}`, RESTING_SNAPSHOT);
  if (state !== 'active') throw new Violation(`snapshot ${snapshot.name} became ${state}: ${errorReason}`);
  snapshot.settled = true;
}

export async function pullSnapshot(client: Client, random: Random): Promise<void> {
  const { reference, files } = random.pick(client.images);
  const snapshot = newSnapshot(client, random, files, ['absent', 'active']);
  const body = { name: snapshot.name, imageName: reference };
  snapshot.id = (await client.requests.api('/snapshots', { method: 'POST', body })).json().id;
  await untilActive(client, random, snapshot);
}

export async function captureSandbox(
  client: Client,
  random: Random,
  sandbox: SandboxModel,
  depth: number,
): Promise<SnapshotModel> {
  const snapshot = newSnapshot(client, random, sandbox.files, ['absent', 'active', 'error']);
  snapshot.depth = depth;
  const body = { name: snapshot.name };
  await client.requests.api(`/sandbox/${sandbox.id}/snapshot`, { method: 'POST', body });
  snapshot.fates = only('active');
  snapshot.settled = true;
  return snapshot;
}

export async function deleteSnapshot(client: Client, snapshot: SnapshotModel): Promise<void> {
  inDoubt(snapshot, 'absent');
  await client.requests.api(`/snapshots/${snapshot.id ?? snapshot.name}`, { method: 'DELETE' });
  client.model.snapshots.delete(snapshot);
  client.model.freeNames.snapshots.push(snapshot.name);
}

export async function deactivateSnapshot(client: Client, snapshot: SnapshotModel): Promise<void> {
  inDoubt(snapshot, 'inactive');
  await client.requests.api(`/snapshots/${snapshot.name}/deactivate`, { method: 'POST', expect: [204] });
  snapshot.fates = only('inactive');
  snapshot.settled = true;
}

export async function activateSnapshot(client: Client, random: Random, snapshot: SnapshotModel): Promise<void> {
  inDoubt(snapshot, 'active');
  const answer = await client.requests.api(`/snapshots/${snapshot.name}/activate`, { method: 'POST' });
  snapshot.id = answer.json().id;
  await untilActive(client, random, snapshot);
}

/** A locked snapshot is not deleted, whatever happens in between. */
export async function toggleLock(client: Client, snapshot: SnapshotModel): Promise<void> {
  const retain = snapshot.retained !== true;
  snapshot.retained = undefined;
  await client.requests.api(`/snapshots/${snapshot.name}`, { method: 'PATCH', body: { retain } });
  snapshot.retained = retain;
  if (!retain) return;
  await client.requests.api(`/snapshots/${snapshot.name}`, { method: 'DELETE', expect: [409] });
}

/** Deleted by itself, soon; unless it is locked. */
export async function letExpire(client: Client, snapshot: SnapshotModel): Promise<void> {
  if (snapshot.retained !== false) return toggleLock(client, snapshot);
  inDoubt(snapshot, 'absent');
  const expiresAt = new Date(Date.now() + 500).toISOString();
  await client.requests.api(`/snapshots/${snapshot.name}`, { method: 'PATCH', body: { expiresAt } });
  snapshot.fates = only('absent');
  await sleep(50);
}
