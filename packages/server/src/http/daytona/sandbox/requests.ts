import type { CreateSandboxBody, ListSandboxesQuery } from '@darkroom/contract';
import type { Caller, CreateRequest, ListRequest } from '../../../sandboxes/index.ts';
import { type AuthContext, actorOf } from '../../../tenancy/auth-context.ts';
import { buildRequest } from '../build-requests.ts';

/** From the wire's names to ours. */
export function toCreateRequest(body: CreateSandboxBody): CreateRequest {
  return {
    name: body.name,
    snapshot: body.snapshot,
    build: body.buildInfo === undefined ? undefined : buildRequest(body.buildInfo),
    user: body.user,
    env: body.env,
    labels: body.labels,
    isPublic: body.public,
    region: body.target,
    resources: { cpu: body.cpu, gpu: body.gpu, memory: body.memory, disk: body.disk },
    autoStopInterval: body.autoStopInterval,
    autoArchiveInterval: body.autoArchiveInterval,
    autoDeleteInterval: body.autoDeleteInterval,
    volumes: body.volumes,
    network: {
      networkBlockAll: body.networkBlockAll,
      networkAllowList: body.networkAllowList,
      domainAllowList: body.domainAllowList,
      bandwidthMbps: body.bandwidthMbps,
    },
    linkedSandbox: body.linkedSandbox,
    ttlMinutes: body.ttlMinutes,
    autoPauseInterval: body.autoPauseInterval,
    secrets: body.secrets,
    outboundProxyUrl: body.outboundProxyUrl,
  };
}

const SORTS = {
  name: 'name',
  cpu: 'cpu',
  memoryGib: 'memory',
  diskGib: 'disk',
  lastActivityAt: 'lastActivityAt',
  createdAt: 'createdAt',
} as const;

export function toListRequest(query: ListSandboxesQuery): ListRequest {
  return {
    cursor: query.cursor,
    limit: query.limit,
    idPrefix: query.id,
    namePrefix: query.name,
    labels: query.labels,
    states: query.states,
    snapshots: query.snapshots,
    regions: query.regionIds,
    classes: query.sandboxClasses,
    cpu: { min: query.minCpu, max: query.maxCpu },
    memory: { min: query.minMemoryGiB, max: query.maxMemoryGiB },
    disk: { min: query.minDiskGiB, max: query.maxDiskGiB },
    createdAt: { min: query.createdAtAfter, max: query.createdAtBefore },
    lastActivityAt: { min: query.lastEventAfter, max: query.lastEventBefore },
    isPublic: query.isPublic,
    isRecoverable: query.isRecoverable,
    sort: query.sort === undefined ? undefined : SORTS[query.sort],
    order: query.order,
  };
}

export function callerOf(auth: AuthContext): Caller {
  return { organizationId: auth.organizationId, actor: actorOf(auth) };
}
