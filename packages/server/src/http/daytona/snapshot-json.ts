import type { SnapshotDto } from '@darkroom/contract';
import type { SnapshotRow } from '../../lifecycle/move.ts';
import { BYTES_PER_GB } from '../../snapshots/types.ts';
import { BUILD_INFO_JSON_SQL, type BuildInfoRow, buildInfoDto } from './build-info.ts';
import { time } from './json-sql.ts';

/** A snapshot as Daytona's clients know it; `build` is that of `row.build_id`. */
export function snapshotDto(row: SnapshotRow, build?: BuildInfoRow): SnapshotDto {
  return {
    id: row.id,
    organizationId: row.organization_id,
    general: row.general,
    name: row.name,
    ...(row.image_name === null ? {} : { imageName: row.image_name }),
    state: row.state,
    size: row.size_bytes === null ? null : row.size_bytes / BYTES_PER_GB,
    entrypoint: row.entrypoint,
    cpu: row.cpu,
    gpu: row.gpu,
    mem: row.mem,
    disk: row.disk,
    errorReason: row.error_reason,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    lastUsedAt: row.last_used_at?.toISOString() ?? null,
    ...(build === undefined ? {} : { buildInfo: buildInfoDto(build) }),
    regionIds: [row.region_id],
    ...(row.runner_id === null ? {} : { initialRunnerId: row.runner_id }),
    ...(row.ref === null ? {} : { ref: row.ref }),
    sandboxClass: row.sandbox_class,
    ...(row.parent_snapshot_id === null ? {} : { parentSnapshotId: row.parent_snapshot_id }),
    ...(row.added_bytes === null ? {} : { addedSize: row.added_bytes / BYTES_PER_GB }),
    sourceSandboxId: row.source_sandbox_id,
    ...(row.retain ? { retain: true } : {}),
    ...(row.retain_reason === null ? {} : { retainReason: row.retain_reason }),
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at.toISOString() }),
  };
}

const nullable = (json: string) => `coalesce(${json}, 'null')`;
const optional = (name: string, column: string) => `coalesce('"${name}":' || to_json(${column})::text || ',', '')`;

/**
 * The same object as the text of JSON, made by PostgreSQL of the row `s`: several times faster than reading its columns
 * into JavaScript. A test holds the two together.
 */
export const SNAPSHOT_JSON_SQL = [
  `'{"id":"' || s.id || '","organizationId":"' || s.organization_id || '","general":' || s.general`,
  `',"name":' || to_json(s.name)::text || ','`,
  optional('imageName', 's.image_name'),
  `'"state":"' || s.state || '","size":' || ${nullable(`(s.size_bytes / ${BYTES_PER_GB}::float8)::text`)}`,
  `',"entrypoint":' || ${nullable('to_json(s.entrypoint)::text')}`,
  `',"cpu":' || s.cpu || ',"gpu":' || s.gpu || ',"mem":' || s.mem || ',"disk":' || s.disk`,
  `',"errorReason":' || ${nullable('to_json(s.error_reason)::text')}`,
  `',"createdAt":' || ${time('s.created_at')} || ',"updatedAt":' || ${time('s.updated_at')}`,
  `',"lastUsedAt":' || ${nullable(time('s.last_used_at'))}`,
  `case when s.build_id is null then '' else coalesce(
    (select ',"buildInfo":' || ${BUILD_INFO_JSON_SQL} from builds b where b.id = s.build_id), '') end`,
  `',"regionIds":[' || to_json(s.region_id)::text || '],'`,
  optional('initialRunnerId', 's.runner_id'),
  optional('ref', 's.ref'),
  `case when s.retain then '"retain":true,' else '' end`,
  optional('retainReason', 's.retain_reason'),
  `coalesce('"expiresAt":' || ${time('s.expires_at')} || ',', '')`,
  optional('parentSnapshotId', 's.parent_snapshot_id'),
  optional('addedSize', `(s.added_bytes / ${BYTES_PER_GB}::float8)`),
  `'"sandboxClass":' || to_json(s.sandbox_class)::text`,
  `',"sourceSandboxId":' || ${nullable(`'"' || s.source_sandbox_id || '"'`)} || '}'`,
].join(' || ');
