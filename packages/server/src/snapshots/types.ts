import type { Selectable } from 'kysely';
import type { BuildRequest } from '../builds/records.ts';
import type { ImageConfig } from '../images/types.ts';
import type { SnapshotTable } from '../platform/db/schema.ts';

export type SnapshotRow = Selectable<SnapshotTable>;

/** What `snapshots.image` holds: the part of the image config that starting a sandbox needs. */
export type SnapshotImage = ImageConfig;

/** Sizes are shown in units of 2^30 bytes, as Daytona counts a GB. */
export const BYTES_PER_GB = 1024 ** 3;

/** What a client asks for, with the wire's names left behind. */
export interface SnapshotRequest {
  name: string;
  imageName: string | undefined;
  entrypoint: string[] | undefined;
  cpu: number | undefined;
  gpu: number | undefined;
  /** GiB. */
  memory: number | undefined;
  disk: number | undefined;
  build: BuildRequest | undefined;
  regionId: string | undefined;
  sandboxClass: string | undefined;
}

export type SnapshotSort = 'name' | 'state' | 'lastUsedAt' | 'createdAt';

export interface SnapshotQuery {
  page: number;
  limit: number;
  /** Case-insensitive part of the name. */
  name: string | undefined;
  sourceSandboxId: string | undefined;
  sort: SnapshotSort;
  order: 'asc' | 'desc';
}
