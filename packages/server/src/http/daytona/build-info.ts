import type { BuildInfoDto } from '@darkroom/contract';
import type { BuildRow } from '../../builds/records.ts';
import { time } from './json-sql.ts';

export type BuildInfoRow = Pick<
  BuildRow,
  'dockerfile' | 'context_hashes' | 'created_at' | 'updated_at' | 'snapshot_ref'
>;

export function buildInfoDto(build: BuildInfoRow): BuildInfoDto {
  return {
    dockerfileContent: build.dockerfile,
    contextHashes: build.context_hashes,
    createdAt: build.created_at.toISOString(),
    updatedAt: build.updated_at.toISOString(),
    snapshotRef: build.snapshot_ref,
  };
}

/** The same object as the text of JSON, made by PostgreSQL of the row `b`. */
export const BUILD_INFO_JSON_SQL = [
  `'{"dockerfileContent":' || to_json(b.dockerfile)::text`,
  `',"contextHashes":' || to_json(b.context_hashes)::text`,
  `',"createdAt":' || ${time('b.created_at')} || ',"updatedAt":' || ${time('b.updated_at')}`,
  `',"snapshotRef":' || to_json(b.snapshot_ref)::text || '}'`,
].join(' || ');
