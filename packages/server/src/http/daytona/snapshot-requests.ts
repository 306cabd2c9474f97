import type { CreateSnapshotDto, ListSnapshotsQuery } from '@darkroom/contract';
import type { SnapshotQuery, SnapshotRequest } from '../../snapshots/types.ts';
import { buildRequest } from './build-requests.ts';

/** Clients write "not given" as an absent member, as null, and, for texts, as an empty one. */
export function snapshotRequest(body: CreateSnapshotDto): SnapshotRequest {
  return {
    name: body.name,
    imageName: body.imageName || undefined,
    entrypoint: body.entrypoint ?? undefined,
    cpu: body.cpu ?? undefined,
    gpu: body.gpu ?? undefined,
    memory: body.memory ?? undefined,
    disk: body.disk ?? undefined,
    build: body.buildInfo == null ? undefined : buildRequest(body.buildInfo),
    regionId: body.regionId || undefined,
    sandboxClass: body.sandboxClass ?? undefined,
  };
}

export function snapshotQuery({ page, limit, name, sourceSandboxId, sort, order }: ListSnapshotsQuery): SnapshotQuery {
  return { page, limit, name: name || undefined, sourceSandboxId: sourceSandboxId || undefined, sort, order };
}
