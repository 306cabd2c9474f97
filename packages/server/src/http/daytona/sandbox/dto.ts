import type { SandboxDto, SandboxListItemDto } from '@darkroom/contract';
import type { SandboxRow } from '../../../sandboxes/index.ts';
import { classOf } from '../../../sandboxes/sandbox-class.ts';
import { type BuildInfoRow, buildInfoDto } from '../build-info.ts';

/** The one mapping from a sandbox to the wire. `publicUrl` is how this client reaches the server. */
export function toSandboxDto(row: SandboxRow, publicUrl: string, build?: BuildInfoRow): SandboxDto {
  const buildInfo = build === undefined ? {} : { buildInfo: buildInfoDto(build) };
  return { ...toSandboxListItem(row, publicUrl), ...buildInfo, env: row.env, volumes: [], kvm: false, spot: false };
}

export function toSandboxListItem(row: SandboxRow, publicUrl: string): SandboxListItemDto {
  return {
    id: row.id,
    organizationId: row.organization_id,
    name: row.name,
    ...(row.build_id === null ? { snapshot: row.snapshot_name } : {}),
    user: row.user_name,
    labels: row.labels,
    public: row.is_public,
    networkBlockAll: row.network_block_all,
    ...(row.network_allow_list === null ? {} : { networkAllowList: row.network_allow_list }),
    ...(row.domain_allow_list === null ? {} : { domainAllowList: row.domain_allow_list }),
    ...bandwidthOf(row),
    target: row.region_id,
    cpu: row.cpu,
    gpu: row.gpu,
    memory: row.memory,
    disk: row.disk,
    state: row.state,
    desiredState: row.desired_state,
    ...(row.error_reason === null ? {} : { errorReason: row.error_reason }),
    // What was never built cannot be started.
    recoverable: row.state === 'error' && (row.build_id === null || row.layers.length > 0),
    backupState: 'None',
    autoStopInterval: row.auto_stop_interval,
    autoArchiveInterval: row.auto_archive_interval,
    autoDeleteInterval: row.auto_delete_interval,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    lastActivityAt: row.last_activity_at.toISOString(),
    sandboxClass: classOf(row),
    ...(row.runner_id === null ? {} : { runnerId: row.runner_id }),
    toolboxProxyUrl: `${publicUrl}/toolbox`,
  };
}

function bandwidthOf({ bandwidth_in_mbps: inMbps, bandwidth_out_mbps: outMbps }: SandboxRow): {
  bandwidthMbps?: { in?: number; out?: number };
} {
  if (inMbps === null && outMbps === null) return {};
  return {
    bandwidthMbps: { ...(inMbps === null ? {} : { in: inMbps }), ...(outMbps === null ? {} : { out: outMbps }) },
  };
}
