import type { ImageConfig } from '../../images/types.ts';
import type { StageState } from '../dockerfile/stage-state.ts';

export const EMPTY_CONFIG: ImageConfig = {
  env: [],
  entrypoint: [],
  cmd: [],
  workingDir: '',
  user: '',
  labels: {},
  exposedPorts: [],
  volumes: [],
  stopSignal: undefined,
};

const DEFAULT_SHELL = JSON.stringify(['/bin/sh', '-c']);

/** The config of the image that a stage has become. */
export function imageConfigOf({ config, shell, onbuild, healthcheck }: StageState): ImageConfig {
  return {
    ...config,
    shell: JSON.stringify(shell) === DEFAULT_SHELL ? undefined : [...shell],
    onBuild: onbuild.length === 0 ? undefined : [...onbuild],
    healthcheck,
  };
}
