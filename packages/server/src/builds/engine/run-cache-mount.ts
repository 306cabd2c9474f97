import type { CacheMount } from '../dockerfile/instructions.ts';
import { word } from '../dockerfile/scope.ts';
import type { CacheMountRequest } from './cache-mounts.ts';
import { digestOf } from './key-parts.ts';
import { mountedFiles } from './mounted-files.ts';
import { userFailure } from './step-failure.ts';
import type { StepPlace } from './step-types.ts';

export interface PreparedCacheMount {
  /** What of it is part of the step's key: which directory it is, and nothing of what is in it. */
  described: unknown;
  files: string | undefined;
  request(signal: AbortSignal): CacheMountRequest;
}

/** A cache without an id is called by its target. Those that begin differently are different ones. */
export async function prepareCacheMount(
  mount: CacheMount,
  target: string,
  line: number,
  place: StepPlace,
): Promise<PreparedCacheMount> {
  const { definition, tools, state } = place;
  const { idBase, idCount } = tools.settings;
  const { sharing, mode, uid, gid, from } = mount;
  const id = mount.id === undefined ? target : word(state.scope, line, mount.id);
  if (uid >= idCount || gid >= idCount) throw userFailure(`--mount: ids in an image are below ${idCount}`);
  const initial = from === undefined ? undefined : await mountedFiles(mount, line, place);
  const beginning = initial === undefined ? [mode, uid, gid] : [initial.path, initial.digest];
  const key = digestOf([definition.organizationId, id, beginning]).replace('sha256:', '');
  return {
    described: [id, beginning],
    files: initial?.digest,
    request: (signal) => ({
      key,
      sharing,
      uid: idBase + uid,
      gid: idBase + gid,
      mode,
      fill: initial && ((directory) => initial.copyTo(directory, signal)),
    }),
  };
}
