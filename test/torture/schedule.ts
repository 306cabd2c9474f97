import type { Client } from './client.ts';
import { isSurely, type SandboxModel, type SnapshotModel } from './model.ts';
import { buildSnapshot, cancelBuild, uploadContext } from './operations/builds.ts';
import { deleteFile, renameDirectory, uploadFile, writeByCommand } from './operations/files.ts';
import * as boxes from './operations/sandboxes.ts';
import * as shots from './operations/snapshots.ts';
import type { Random } from './random.ts';
import { Unanswered } from './requests.ts';

const MOST_SANDBOXES = 2;
const MOST_SNAPSHOTS = 3;
/** Captures on top of each other, after which a client begins anew. */
const MOST_DEPTH = 16;

type Operation = (client: Client, random: Random) => Promise<void>;

/** What needs a sandbox or a snapshot in some state makes one, when there is none: the schedule goes on whatever came before. */
const OPERATIONS = {
  pull: [4, withRoomForSnapshot(shots.pullSnapshot)],
  build: [8, withRoomForSnapshot(buildSnapshot)],
  'cancel build': [3, withRoomForSnapshot(cancelBuild)],
  'upload context': [3, async (client: Client, random: Random) => void (await uploadContext(client, random))],
  create: [10, newSandbox],
  'upload file': [14, onSandbox('started', uploadFile)],
  'write by command': [10, onSandbox('started', writeByCommand)],
  'delete file': [5, onSandbox('started', deleteFile)],
  'rename directory': [3, onSandbox('started', renameDirectory)],
  'leave command': [3, onSandbox('started', (client, _random, sandbox) => boxes.leaveCommand(client, sandbox))],
  capture: [8, captureSandbox],
  deepen: [12, deepen],
  fork: [7, fork],
  stop: [5, onSandbox('started', boxes.stopSandbox)],
  start: [5, onSandbox('stopped', boxes.startSandbox)],
  pause: [4, onSandbox('started', boxes.pauseSandbox)],
  resume: [4, onSandbox('paused', boxes.startSandbox)],
  'delete sandbox': [6, onSandbox(undefined, (client, _random, sandbox) => boxes.deleteSandbox(client, sandbox))],
  'delete snapshot': [4, onSnapshot(undefined, (client, _random, snapshot) => shots.deleteSnapshot(client, snapshot))],
  deactivate: [3, onSnapshot('active', (client, _random, snapshot) => shots.deactivateSnapshot(client, snapshot))],
  activate: [3, onSnapshot('inactive', shots.activateSnapshot)],
  lock: [2, onSnapshot('active', (client, _random, snapshot) => shots.toggleLock(client, snapshot))],
  expire: [1, onSnapshot('active', (client, _random, snapshot) => shots.letExpire(client, snapshot))],
  'plan garbage collection': [1, async ({ requests }: Client) => void (await requests.api('/admin/gc'))],
  'collect garbage': [3, collectGarbage],
  resize: [3, onSandbox('started', boxes.resizeSandbox)],
  'write while it is captured': [4, onSandbox('started', captureWhileWriting)],
} satisfies Record<string, [weight: number, Operation]>;

export type OperationKind = keyof typeof OPERATIONS;
export const OPERATION_KINDS = Object.keys(OPERATIONS).filter((kind): kind is OperationKind => kind in OPERATIONS);

const drawn = OPERATION_KINDS.flatMap((kind) => Array.from({ length: OPERATIONS[kind][0] }, () => kind));

/** The next operation of a client, from its seed alone. */
export const drawOperation = (random: Random): OperationKind => random.pick(drawn);

export async function carryOut(client: Client, kind: OperationKind, random: Random): Promise<void> {
  await OPERATIONS[kind][1](client, random);
}

function onSandbox(
  state: 'started' | 'stopped' | 'paused' | undefined,
  act: (client: Client, random: Random, sandbox: SandboxModel) => Promise<void>,
): Operation {
  return async (client, random) => {
    const fitting = client.sandboxes().filter((sandbox) => state === undefined || isSurely(sandbox, state));
    if (fitting.length === 0) return newSandbox(client, random);
    await act(client, random, random.pick(fitting));
  };
}

function onSnapshot(
  state: 'active' | 'inactive' | undefined,
  act: (client: Client, random: Random, snapshot: SnapshotModel) => Promise<void>,
): Operation {
  return async (client, random) => {
    const isDeletable = state === undefined;
    const fitting = client.snapshots().filter((snapshot) => {
      if (isSurely(snapshot, 'absent')) return false;
      return isDeletable ? snapshot.retained === false : snapshot.settled && isSurely(snapshot, state);
    });
    if (fitting.length === 0) return withRoomForSnapshot(shots.pullSnapshot)(client, random);
    await act(client, random, random.pick(fitting));
  };
}

/** Of its own deepest capture, of another snapshot of its own, or of one that all share. */
async function newSandbox(client: Client, random: Random): Promise<void> {
  await makeRoomForSandboxes(client, 1);
  const own = client.snapshots().filter((snapshot) => snapshot.settled && isSurely(snapshot, 'active'));
  const source = own.length > 0 && random.chance(0.7) ? random.pick(own) : random.pick(client.shared);
  await boxes.createSandbox(client, random, source);
}

async function fork(client: Client, random: Random): Promise<void> {
  const fitting = client.sandboxes().filter((box) => !isSurely(box, 'error') && box.fates.size === 1);
  if (fitting.length === 0) return newSandbox(client, random);
  const source = random.pick(fitting);
  const count = random.chance(0.3) ? 2 : 1;
  await makeRoomForSandboxes(client, count, source);
  await boxes.forkSandbox(client, random, source, count);
}

async function captureSandbox(client: Client, random: Random): Promise<void> {
  const fitting = client.sandboxes().filter((box) => !isSurely(box, 'error') && box.fates.size === 1);
  if (fitting.length === 0) return newSandbox(client, random);
  await makeRoomForSnapshot(client);
  await shots.captureSandbox(client, random, random.pick(fitting), 1);
}

/** Under load, and without any grace: what is needed stays. */
async function collectGarbage({ requests }: Client): Promise<void> {
  await requests.api('/admin/gc', { method: 'POST', body: { withoutGrace: true } });
}

/** What was answered before the capture began is in it; what is written meanwhile may be. */
async function captureWhileWriting(client: Client, random: Random, sandbox: SandboxModel): Promise<void> {
  await makeRoomForSnapshot(client);
  const write = random.pick([uploadFile, writeByCommand, deleteFile]);
  // It puts its file in doubt before it waits for anything, so the capture has it in doubt too.
  const writing = write(client, random.fork('write'), sandbox);
  const outcomes = await Promise.allSettled([writing, shots.captureSandbox(client, random, sandbox, 1)]);
  const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  const worst = reasons.find((reason) => !(reason instanceof Unanswered)) ?? reasons[0];
  if (worst !== undefined) throw worst;
}

/** One capture more on top of the deepest that it has. */
async function deepen(client: Client, random: Random): Promise<void> {
  const deepest = deepestOf(client);
  await makeRoomForSandboxes(client, 1);
  const sandbox = await boxes.createSandbox(client, random, deepest ?? random.pick(client.shared));
  await writeByCommand(client, random, sandbox);
  await makeRoomForSnapshot(client);
  await shots.captureSandbox(client, random, sandbox, (deepest?.depth ?? 0) + 1);
  await boxes.deleteSandbox(client, sandbox);
}

function deepestOf(client: Client): SnapshotModel | undefined {
  const [deepest] = client
    .snapshots()
    .filter((snapshot) => snapshot.settled && isSurely(snapshot, 'active') && snapshot.depth < MOST_DEPTH)
    .sort((a, b) => b.depth - a.depth);
  return deepest;
}

async function makeRoomForSandboxes(client: Client, count: number, kept?: SandboxModel): Promise<void> {
  const others = client.sandboxes().filter((sandbox) => sandbox !== kept);
  const surplus = others.length + (kept === undefined ? 0 : 1) + count - MOST_SANDBOXES;
  for (const sandbox of others.slice(0, Math.max(0, surplus))) await boxes.deleteSandbox(client, sandbox);
}

function withRoomForSnapshot(act: Operation): Operation {
  return async (client, random) => {
    await makeRoomForSnapshot(client);
    await act(client, random);
  };
}

/** Not the deepest, so that depth grows; the oldest of the others. */
async function makeRoomForSnapshot(client: Client): Promise<void> {
  const own = client.snapshots().filter((snapshot) => !isSurely(snapshot, 'absent'));
  if (own.length < MOST_SNAPSHOTS) return;
  const deepest = deepestOf(client);
  const [oldest] = own.filter((snapshot) => snapshot !== deepest && snapshot.retained !== undefined);
  if (oldest === undefined) return;
  if (oldest.retained) await shots.toggleLock(client, oldest);
  await shots.deleteSnapshot(client, oldest);
}
