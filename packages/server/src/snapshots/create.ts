import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Builds } from '../builds/index.ts';
import { type BuildRow, insertBuild } from '../builds/records.ts';
import { insertSnapshot, type NewSnapshot, type SnapshotRow } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { isUniqueViolation } from '../platform/db/violations.ts';
import { conflict, invalidRequest } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { JobQueue } from '../platform/jobs.ts';
import type { SecretBox } from '../platform/secrets.ts';
import type { SandboxClass, SandboxRuntime } from '../runtime/types.ts';
import { type AuthContext, actorOf } from '../tenancy/auth-context.ts';
import { assertNotSuspended, getOrganization, type OrganizationRow } from '../tenancy/organizations.ts';
import { resolveRegion } from '../tenancy/regions.ts';
import { checkImageName, checkSnapshotName } from './check-names.ts';
import { checkResources, DEFAULT_RESOURCES } from './check-resources.ts';
import { claimQuota } from './quota.ts';
import type { SnapshotRequest } from './types.ts';

export interface CreateDeps {
  db: Kysely<Database>;
  jobs: JobQueue;
  runtime: Pick<SandboxRuntime, 'checkClass'>;
  builds: Pick<Builds, 'check' | 'checkContexts' | 'begin'>;
  secrets: Pick<SecretBox, 'seal'>;
}

export interface CreatedSnapshot {
  row: SnapshotRow;
  build: BuildRow | undefined;
}

/**
 * Records the snapshot together with the job that pulls it (as `pending`) or builds it (as `building`, because clients that are told so read
 * the log at once), and returns. The checks and their order
 * are Daytona's (section 4 of its wire contract); all of them run before anything is written.
 */
export async function createSnapshot(
  deps: CreateDeps,
  auth: AuthContext,
  request: SnapshotRequest,
): Promise<CreatedSnapshot> {
  checkCombination(request);
  const organization = await getOrganization(deps.db, auth.organizationId);
  const values = checkedValues(deps, request, organization);
  await deps.runtime.checkClass(values.sandbox_class);
  const { build: buildRequest } = request;
  if (buildRequest !== undefined) await deps.builds.checkContexts(organization.id, buildRequest.contextHashes);
  try {
    const created = await deps.db.transaction().execute(async (trx) => {
      await claimQuota(trx, auth.organizationId);
      const change = { actor: actorOf(auth) };
      if (buildRequest === undefined) {
        const row = await insertSnapshot(trx, values, change);
        await deps.jobs.enqueue(trx, 'snapshot.pull', row.id, { snapshotId: row.id });
        return { row, build: undefined };
      }
      const id = randomUUID();
      const row = await insertSnapshot(trx, { ...values, state: 'building', build_id: id }, change);
      const subject = { snapshotId: row.id };
      const build = await insertBuild(trx, deps.secrets, {
        id,
        organizationId: organization.id,
        subject,
        request: buildRequest,
      });
      await deps.jobs.enqueue(trx, 'snapshot.build', id, { buildId: id });
      return { row, build };
    });
    if (created.build !== undefined) {
      await failpoint('build.rows-written');
      deps.builds.begin(created.build);
    }
    return created;
  } catch (error) {
    if (isUniqueViolation(error, 'snapshots_name')) {
      throw conflict(`Snapshot with name "${request.name}" already exists for this organization`);
    }
    throw error;
  }
}

function checkCombination(request: SnapshotRequest): void {
  if (request.build !== undefined && request.imageName !== undefined) {
    throw invalidRequest('Cannot specify an image name when using a build info entry');
  }
  if (request.build !== undefined && request.entrypoint !== undefined) {
    throw invalidRequest('Cannot specify an entrypoint when using a build info entry');
  }
  if (request.build === undefined && request.imageName === undefined) {
    throw invalidRequest('Must specify an image name when not using a build info entry');
  }
}

function checkedValues(
  { builds }: Pick<CreateDeps, 'builds'>,
  request: SnapshotRequest,
  organization: OrganizationRow,
): NewSnapshot & { sandbox_class: SandboxClass } {
  const regionId = resolveRegion(request.regionId, organization.default_region);
  checkSnapshotName(request.name);
  if (request.imageName !== undefined) checkImageName(request.imageName);
  if (request.build !== undefined) builds.check(request.build);
  const sandboxClass = classOf(request.sandboxClass, regionId);
  assertNotSuspended(organization);
  const resources = {
    cpu: request.cpu ?? DEFAULT_RESOURCES.cpu,
    gpu: request.gpu ?? DEFAULT_RESOURCES.gpu,
    memory: request.memory ?? DEFAULT_RESOURCES.memory,
    disk: request.disk ?? DEFAULT_RESOURCES.disk,
  };
  checkResources(resources, organization);
  const entrypoint = request.entrypoint?.filter((argument) => argument.trim() !== '') ?? [];
  return {
    organization_id: organization.id,
    name: request.name,
    state: 'pending',
    image_name: request.imageName ?? null,
    entrypoint: entrypoint.length > 0 ? entrypoint : null,
    cpu: resources.cpu,
    gpu: resources.gpu,
    mem: resources.memory,
    disk: resources.disk,
    region_id: regionId,
    sandbox_class: sandboxClass,
  };
}

/** `gvisor` is a word of ours; whether this machine has it, the runtime knows. */
function classOf(sandboxClass: string | undefined, regionId: string): SandboxClass {
  if (sandboxClass === undefined || sandboxClass === 'container') return 'container';
  if (sandboxClass === 'gvisor') return 'gvisor';
  if (sandboxClass === 'windows') {
    throw invalidRequest(
      'Windows snapshots cannot be created via this endpoint; this server runs Linux containers only',
    );
  }
  throw invalidRequest(
    `No runners are configured in region '${regionId}' for sandbox class '${sandboxClass}'. Try a different region or sandbox class.`,
  );
}
