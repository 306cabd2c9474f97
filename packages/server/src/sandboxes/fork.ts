import { randomUUID } from 'node:crypto';
import { insertSandbox, type NewSandbox } from '../lifecycle/move.ts';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { assertNotSuspended, getOrganization } from '../tenancy/organizations.ts';
import { findCopyable } from './capture.ts';
import { checkCreateRequest } from './create-request.ts';
import { answerWithin } from './hold.ts';
import { finishLaunch, layerPaths, runContainer } from './launch.ts';
import { withFreeName } from './new-row.ts';
import { giveOwnIdentity } from './own-identity.ts';
import { reserveRoom } from './quota.ts';
import { noteSnapshotUse } from './snapshot-use.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** What a child has of its own; its id for a name, and its parent's environment, where nothing is said. */
export interface ForkChild {
  name?: string | undefined;
  /** Over its parent's. */
  env?: Readonly<Record<string, string>> | undefined;
}

const MAX_CHILDREN = 100;

/**
 * New sandboxes with the files that this one has at one moment. It goes on; what runs in it does not run in them. Their files are there before
 * their rows are, so that no row ever stands for a child without them: a server that dies in between leaves files that nobody knows, and the
 * next one removes them. Raises when none could be made, or a single one did not start; of several, each says by its state what became of it.
 */
export async function forkSandbox(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  children: readonly ForkChild[],
): Promise<SandboxRow[]> {
  // The sandbox may be deleted meanwhile: its layers stay until the rows of its children name them.
  using _hold = context.layers.hold();
  checkChildren(children);
  const source = await findCopyable(context, caller, idOrName, 'forked');
  assertNotSuspended(await getOrganization(context.db, caller.organizationId));
  const named = children.map((child) => ({ ...child, id: randomUUID() }));
  await layerPaths(context, source.layers, source.snapshot_name);
  // Asked here too, so that what is refused copies nothing.
  await context.db.transaction().execute((trx) => reserveAll(trx, source, children.length));
  const ids = named.map(({ id }) => id);
  await context.runtime.fork(source.id, ids);
  await failpoint('fork.placed');
  const rows = await insertAll(context, caller, source, named).catch((error: unknown) => {
    const gone = Promise.all(ids.map((id) => context.runtime.remove(id)));
    context.background(`remove forks of sandbox ${source.id}, which were refused`, gone);
    throw error;
  });
  await failpoint('fork.rows-written');
  if (source.snapshot_id !== null) {
    const use = noteSnapshotUse(context.db, { id: source.snapshot_id, last_used_at: null });
    context.background('note the use of a snapshot', use);
  }
  const launches = rows.map((row) => answerWithin(context, row, launch(context, caller, row)));
  const outcomes = await Promise.allSettled(launches);
  const [only] = outcomes;
  if (outcomes.length === 1 && only?.status === 'rejected') throw only.reason;
  return Promise.all(
    outcomes.map((outcome, index) => (outcome.status === 'fulfilled' ? outcome.value : now(context, rows, index))),
  );
}

async function launch(context: SandboxContext, caller: Caller, row: SandboxRow): Promise<SandboxRow> {
  const running = runContainer(context, row, 'creating', 'used').then(async (profile) => {
    await giveOwnIdentity(context.runtime, row.id);
    await failpoint('fork.identity-given');
    return profile;
  });
  const started = await finishLaunch(context, caller, row, 'creating', running);
  await failpoint('fork.one-started');
  return started;
}

/** One that failed, with its reason. */
async function now({ db }: SandboxContext, rows: readonly SandboxRow[], index: number): Promise<SandboxRow> {
  const row = rows[index];
  if (row === undefined) throw new DarkroomError('internal', 'a fork has no row');
  return db.selectFrom('sandboxes').selectAll().where('id', '=', row.id).executeTakeFirstOrThrow();
}

function checkChildren(children: readonly ForkChild[]): void {
  if (children.length < 1 || children.length > MAX_CHILDREN) {
    throw invalidRequest(`Between 1 and ${MAX_CHILDREN} forks can be made at once`);
  }
  for (const { name, env } of children) checkCreateRequest({ name, env, resources: NONE, network: {} });
  const names = children.flatMap(({ name }) => name ?? []);
  if (new Set(names).size < names.length) throw invalidRequest('Two forks cannot have the same name');
}

const NONE = { cpu: undefined, gpu: undefined, memory: undefined, disk: undefined };

type Trx = Parameters<typeof reserveRoom>[0];

/** Room for all of them together. Each alone must fit as well. */
async function reserveAll(trx: Trx, source: SandboxRow, count: number): Promise<void> {
  const { organization_id: organizationId, cpu, gpu, memory, disk } = source;
  await reserveRoom(trx, organizationId, { cpu, gpu, memory, disk }, { copies: count });
}

function insertAll(
  context: SandboxContext,
  caller: Caller,
  source: SandboxRow,
  children: readonly (ForkChild & { id: string })[],
): Promise<SandboxRow[]> {
  return context.db.transaction().execute(async (trx) => {
    await reserveAll(trx, source, children.length);
    const rows: SandboxRow[] = [];
    for (const child of children) {
      const values = childValues(context, source, child);
      const change = { actor: caller.actor, ownerId: context.settings.instanceId, durable: false };
      rows.push(await withFreeName(values.name, () => insertSandbox(trx, values, change)));
    }
    return rows;
  });
}

function childValues({ settings }: SandboxContext, source: SandboxRow, child: ForkChild & { id: string }): NewSandbox {
  return {
    id: child.id,
    name: child.name ?? child.id,
    parent_id: source.id,
    state: 'creating',
    desired_state: 'started',
    organization_id: source.organization_id,
    snapshot_id: source.snapshot_id,
    snapshot_name: source.snapshot_name,
    user_name: source.user_name,
    env: JSON.stringify({ ...source.env, ...child.env }),
    labels: JSON.stringify(source.labels),
    is_public: source.is_public,
    region_id: source.region_id,
    runner_id: settings.runnerId,
    cpu: source.cpu,
    gpu: source.gpu,
    memory: source.memory,
    disk: source.disk,
    auto_stop_interval: source.auto_stop_interval,
    auto_archive_interval: source.auto_archive_interval,
    auto_delete_interval: source.auto_delete_interval,
    network_block_all: source.network_block_all,
    network_allow_list: source.network_allow_list,
    domain_allow_list: source.domain_allow_list,
    bandwidth_in_mbps: source.bandwidth_in_mbps,
    bandwidth_out_mbps: source.bandwidth_out_mbps,
    layers: source.layers,
    image: JSON.stringify(source.image),
    entrypoint: source.entrypoint,
  };
}
