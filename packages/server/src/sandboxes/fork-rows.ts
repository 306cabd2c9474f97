import type { Transaction } from 'kysely';
import { insertSandboxes, type NewSandbox } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { invalidRequest } from '../platform/errors.ts';
import { checkCreateRequest } from './create-request.ts';
import { checkEnvironment } from './environment.ts';
import { sandboxNotFound } from './find.ts';
import { isNameTaken, nameTaken } from './new-row.ts';
import { reserveRoom } from './quota.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** What a child has of its own; its id for a name, and its parent's environment, where nothing is said. */
export interface ForkChild {
  name?: string | undefined;
  /** Over its parent's. */
  env?: Readonly<Record<string, string>> | undefined;
}

export type Child = ForkChild & { id: string };

const MAX_CHILDREN = 100;
const NO_RESOURCES = { cpu: undefined, gpu: undefined, memory: undefined, disk: undefined };

export function checkForks(children: readonly ForkChild[]): void {
  if (children.length < 1 || children.length > MAX_CHILDREN) {
    throw invalidRequest(`Between 1 and ${MAX_CHILDREN} forks can be made at once`);
  }
  for (const { name, env } of children) checkCreateRequest({ name, env, resources: NO_RESOURCES, network: {} });
  const names = children.flatMap(({ name }) => name ?? []);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) throw invalidRequest(`Two forks cannot have the same name: ${twice}`);
}

/** With what they have from their parent. */
export function checkEnvironments(source: SandboxRow, children: readonly ForkChild[]): void {
  for (const { env } of children) if (env !== undefined) checkEnvironment({ ...source.env, ...env });
}

/** Room for all of them together, names that are free, and a parent that is still there, until the transaction ends. */
export async function reserveForks(
  trx: Transaction<Database>,
  source: SandboxRow,
  children: readonly ForkChild[],
): Promise<void> {
  const { organization_id: organizationId, cpu, gpu, memory, disk } = source;
  await reserveRoom(trx, organizationId, { cpu, gpu, memory, disk }, { copies: children.length });
  const taken = await findTaken(trx, source, children);
  if (taken !== undefined) throw nameTaken(taken);
  const parent = await trx
    .selectFrom('sandboxes')
    .select('state')
    .where('id', '=', source.id)
    .forShare()
    .executeTakeFirst();
  if (parent === undefined || parent.state === 'destroying' || parent.state === 'destroyed') {
    throw sandboxNotFound(source.id);
  }
}

/** While its parent's row names them, no layer of a child is swept; from here on its own does. */
export async function insertForks(
  context: SandboxContext,
  caller: Caller,
  source: SandboxRow,
  children: readonly Child[],
): Promise<SandboxRow[]> {
  const change = { actor: caller.actor, ownerId: context.settings.instanceId, durable: false };
  const all = children.map((child) => childValues(context, source, child));
  try {
    return await context.db.transaction().execute(async (trx) => {
      await reserveForks(trx, source, children);
      return insertSandboxes(trx, all, change);
    });
  } catch (cause) {
    if (!isNameTaken(cause)) throw cause;
    throw nameTaken((await findTaken(context.db, source, children)) ?? 'of a fork', cause);
  }
}

async function findTaken(
  db: SandboxContext['db'],
  { organization_id: organizationId }: SandboxRow,
  children: readonly ForkChild[],
): Promise<string | undefined> {
  const names = children.flatMap(({ name }) => name ?? []);
  if (names.length === 0) return undefined;
  const taken = await db
    .selectFrom('sandboxes')
    .select('name')
    .where('organization_id', '=', organizationId)
    .where('name', 'in', names)
    .where('state', 'not in', ['destroying', 'destroyed'])
    .limit(1)
    .executeTakeFirst();
  return taken?.name;
}

function childValues({ settings }: SandboxContext, source: SandboxRow, child: Child): NewSandbox {
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
