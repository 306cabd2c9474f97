import type { CreateBuildInfoDto } from '@darkroom/contract';
import type { BuildRequest } from '../../builds/records.ts';

/** From the wire's names to ours. */
export function buildRequest(info: CreateBuildInfoDto): BuildRequest {
  return {
    dockerfile: info.dockerfileContent,
    contextHashes: info.contextHashes ?? [],
    target: info.target || undefined,
    buildArgs: info.buildArgs ?? {},
    secrets: info.secrets ?? {},
    noCache: info.noCache ?? false,
    cacheMaxAgeSeconds: info.cacheMaxAgeSeconds ?? undefined,
  };
}
