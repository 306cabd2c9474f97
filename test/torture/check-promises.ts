import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { differences, readContent, settledFiles } from './check-content.ts';
import {
  isSurely,
  type Model,
  only,
  type SandboxFate,
  type SandboxModel,
  type SnapshotFate,
  type SnapshotModel,
} from './model.ts';
import { type Requests, Violation } from './requests.ts';

/** A deadline of the table is longer; but after a restart nothing has a reason to take that long. */
const SETTLE_MS = 40_000;
const FIRST_POLL_MS = 20;
const MOST_POLL_MS = 200;
/** Sandboxes that the checker makes to look into snapshots. */
const CHECK_PREFIX = 'check-';

export interface CheckOptions {
  /** Most snapshots that are looked into, those in doubt and those never looked into first; all of them without it. */
  samples?: number;
  /** Starts sandboxes that rest, to look into them as well. */
  startAll?: boolean;
  onState?: (kind: 'snapshot' | 'sandbox', state: string) => void;
}

/**
 * Compares what a server has with what its clients were told, right after its start. What is wrong comes back as texts; what was in doubt is settled
 * in the model, by what is there. Raises `Unanswered` when the server is killed meanwhile; the same call can then be made again.
 */
export async function checkPromises(
  { requests, model }: { requests: Requests; model: Model },
  { samples = Number.POSITIVE_INFINITY, startAll = false, onState = () => {} }: CheckOptions = {},
): Promise<string[]> {
  const wrong: string[] = [];
  const collect = (found: Promise<string[]>) =>
    found.catch((error: unknown) => {
      if (error instanceof Violation) return [error.message];
      throw error;
    });
  const all = async (checks: Promise<string[]>[]) => {
    const outcomes = await Promise.allSettled(checks.map(collect));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    for (const outcome of outcomes) if (outcome.status === 'fulfilled') wrong.push(...outcome.value);
  };
  await all([removeOwn(requests)]);
  await all([
    ...[...model.snapshots].map((snapshot) => settleSnapshot(requests, model, snapshot, onState)),
    ...[...model.sandboxes].map((sandbox) => settleSandbox(requests, model, sandbox, onState)),
  ]);
  const atRest = [...model.sandboxes].filter((sandbox) => isSurely(sandbox, 'stopped') || isSurely(sandbox, 'paused'));
  if (startAll) await all(atRest.map((sandbox) => lookIntoResting(requests, sandbox)));
  await all(toLookInto(model, samples).map((snapshot) => lookIntoSnapshot(requests, snapshot)));
  await all([noStrangers(requests, model)]);
  return wrong;
}

async function settleSandbox(
  requests: Requests,
  model: Model,
  sandbox: SandboxModel,
  onState: (kind: 'sandbox', state: string) => void,
): Promise<string[]> {
  const resting = ['started', 'stopped', 'paused', 'error'] as const;
  const found = await untilFate(requests, `/sandbox/${sandbox.id ?? sandbox.name}`, sandbox.fates, resting, (state) =>
    onState('sandbox', state),
  );
  const { id, state, errorReason } = found;
  const wrong = wrongFate(`sandbox ${sandbox.name}`, sandbox.fates, found);
  sandbox.fates = only(state);
  if (state === 'absent' || id === undefined) {
    model.sandboxes.delete(sandbox);
    model.freeNames.sandboxes.push(sandbox.name);
    return wrong;
  }
  sandbox.id = id;
  if (sandbox.cpu !== undefined && sandbox.cpu !== found.cpu) {
    wrong.push(`sandbox ${sandbox.name} has ${found.cpu} cores and must have ${sandbox.cpu}`);
  }
  sandbox.cpu = found.cpu;
  if (state === 'error') {
    if (!errorReason) wrong.push(`sandbox ${sandbox.name} is in error without a reason`);
    await requests.api(`/sandbox/${id}`, { method: 'DELETE' });
    model.sandboxes.delete(sandbox);
    model.freeNames.sandboxes.push(sandbox.name);
  }
  if (state !== 'started') return wrong;
  return [...wrong, ...(await checkContent(requests, sandbox))];
}

async function lookIntoResting(requests: Requests, sandbox: SandboxModel): Promise<string[]> {
  // A killed checker may have started it.
  sandbox.fates = new Set([...sandbox.fates, 'started']);
  if (isSurely(sandbox, 'stopped')) sandbox.hasCommand = false;
  await requests.api(`/sandbox/${sandbox.id}/start`, { method: 'POST' });
  sandbox.fates = only('started');
  return checkContent(requests, sandbox);
}

/** Of one that runs. */
export async function checkContent(requests: Requests, sandbox: SandboxModel): Promise<string[]> {
  const { files, leftCommands, isWritable } = await readContent(requests, sandbox.id ?? '');
  const wrong = differences(sandbox.files, files).map((text) => `sandbox ${sandbox.name} (${sandbox.id}): ${text}`);
  sandbox.files = settledFiles(sandbox.files, files);
  if (!isWritable) wrong.push(`sandbox ${sandbox.name} (${sandbox.id}) cannot be written to`);
  if (sandbox.hasCommand !== undefined && sandbox.hasCommand !== leftCommands > 0) {
    const must = sandbox.hasCommand ? 'must run' : 'must not run';
    wrong.push(`sandbox ${sandbox.name} (${sandbox.id}): ${leftCommands} commands run that were left, and one ${must}`);
  }
  sandbox.hasCommand = leftCommands > 0;
  return wrong;
}

async function settleSnapshot(
  requests: Requests,
  model: Model,
  snapshot: SnapshotModel,
  onState: (kind: 'snapshot', state: string) => void,
): Promise<string[]> {
  const resting = ['active', 'inactive', 'error', 'build_failed'] as const;
  const found = await untilFate(
    requests,
    `/snapshots/${snapshot.id ?? snapshot.name}`,
    snapshot.fates,
    resting,
    (state) => onState('snapshot', state),
  );
  const { id, state, errorReason, retain } = found;
  const wrong = wrongFate(`snapshot ${snapshot.name}`, snapshot.fates, found);
  if (snapshot.fates.size > 1) snapshot.verified = false;
  snapshot.fates = only(state);
  snapshot.settled = true;
  if (state === 'absent' || id === undefined) {
    model.snapshots.delete(snapshot);
    model.freeNames.snapshots.push(snapshot.name);
    return wrong;
  }
  snapshot.id = id;
  const isRetained = retain === true;
  if (snapshot.retained !== undefined && snapshot.retained !== isRetained) {
    wrong.push(`snapshot ${snapshot.name} ${isRetained ? 'is' : 'is not'} locked`);
  }
  snapshot.retained = isRetained;
  if (state === 'error' || state === 'build_failed') {
    if (!errorReason) wrong.push(`snapshot ${snapshot.name} is in ${state} without a reason`);
    await requests.api(`/snapshots/${id}`, { method: 'DELETE' });
    model.snapshots.delete(snapshot);
    model.freeNames.snapshots.push(snapshot.name);
  }
  return wrong;
}

interface Found<F> {
  id: string | undefined;
  state: F | 'absent';
  errorReason?: string | null;
  retain?: boolean;
  cpu?: number;
}

/** Rests in one of its fates; or rests, when the time is over; or is what it was last seen as. */
async function untilFate<F extends SandboxFate | SnapshotFate>(
  requests: Requests,
  path: string,
  fates: ReadonlySet<F | 'absent'>,
  resting: readonly F[],
  onState: (state: string) => void,
): Promise<Found<F>> {
  const deadline = performance.now() + SETTLE_MS;
  for (let waitMs = FIRST_POLL_MS; ; waitMs = Math.min(MOST_POLL_MS, waitMs * 1.5)) {
    const answer = await requests.api(path, { expect: [200, 404] });
    const body = answer.status === 404 ? { state: 'absent' } : answer.json();
    onState(body.state);
    const state = [...resting, 'absent' as const].find((known) => known === body.state);
    const isLate = performance.now() > deadline;
    // Who was cut off when it let a snapshot expire may have done so, and it is only a moment until that happens.
    const mayStay = body.expiresAt == null || !fates.has('absent');
    if (state !== undefined && ((fates.has(state) && mayStay) || isLate)) return { ...body, state };
    if (isLate) throw new Violation(`${path} is still ${body.state} ${SETTLE_MS} ms after the restart`);
    await sleep(waitMs);
  }
}

function wrongFate(what: string, fates: ReadonlySet<string>, { state, errorReason }: Found<string>): string[] {
  if (fates.has(state)) return [];
  return [`${what} is ${state} (${errorReason ?? 'no reason'}) and must be ${[...fates].join(' or ')}`];
}

function toLookInto(model: Model, samples: number): SnapshotModel[] {
  const active = [...model.snapshots].filter((snapshot) => isSurely(snapshot, 'active'));
  const rank = ({ verified, depth }: SnapshotModel) => (verified ? 100 : 0) - depth;
  // The oldest of equals; the set keeps the order of insertion, and the one that was looked into goes to its end.
  const chosen = active.sort((a, b) => rank(a) - rank(b)).slice(0, samples);
  for (const snapshot of chosen) {
    model.snapshots.delete(snapshot);
    model.snapshots.add(snapshot);
  }
  return chosen;
}

/** Whether a sandbox of it has what it must have. */
async function lookIntoSnapshot(requests: Requests, snapshot: SnapshotModel): Promise<string[]> {
  const name = `${CHECK_PREFIX}${randomUUID()}`;
  const answer = await requests.api('/sandbox', { method: 'POST', body: { name, snapshot: snapshot.name } });
  const { id } = answer.json();
  const { files } = await readContent(requests, id);
  await requests.api(`/sandbox/${id}`, { method: 'DELETE' });
  const wrong = differences(snapshot.files, files).map((text) => `snapshot ${snapshot.name} (${snapshot.id}): ${text}`);
  snapshot.files = settledFiles(snapshot.files, files);
  snapshot.verified = true;
  return wrong;
}

interface Listed {
  id: string;
  name: string;
  state: string;
}

export async function listSandboxes(requests: Requests): Promise<Listed[]> {
  return (await requests.api('/sandbox?limit=200')).json().items;
}

/** What a checker that was killed in the middle left. */
async function removeOwn(requests: Requests): Promise<string[]> {
  const own = (await listSandboxes(requests)).filter(({ name }) => name.startsWith(CHECK_PREFIX));
  await Promise.all(own.map(({ id }) => requests.api(`/sandbox/${id}`, { method: 'DELETE', expect: [200, 404] })));
  return [];
}

/** Deleted things stay deleted, and nothing is there that nobody asked for. */
async function noStrangers(requests: Requests, model: Model): Promise<string[]> {
  const sandboxes = new Set([...model.sandboxes].map(({ name }) => name));
  const snapshots = new Set([...model.snapshots].map(({ name }) => name));
  const listed: Listed[] = (await requests.api('/snapshots?limit=200')).json().items;
  const boxes = (await listSandboxes(requests)).filter(({ name }) => !name.startsWith(CHECK_PREFIX));
  return [
    ...listed
      .filter(({ name }) => !snapshots.has(name))
      .map(({ name, state }) => `snapshot ${name} is there (${state})`),
    ...boxes.filter(({ name }) => !sandboxes.has(name)).map(({ name, state }) => `sandbox ${name} is there (${state})`),
    ...[...snapshots]
      .filter((name) => !listed.some((one) => one.name === name))
      .map((name) => `snapshot ${name} is not listed`),
    ...[...sandboxes]
      .filter((name) => !boxes.some((one) => one.name === name))
      .map((name) => `sandbox ${name} is not listed`),
  ];
}
