import { frameConfig, limitsOf, type Mount, processConfig, TINI } from '../container/container-config.ts';
import { seenByCrun } from '../container/layout.ts';
import type { ReadyNamespaces } from '../network/network-pool.ts';
import type { StepSpec } from '../step-types.ts';
import type { ProcessUser } from '../types.ts';
import type { StepHost } from './step-host.ts';
import { type StepPaths, stepLayout } from './step-layout.ts';

export const STEP_HOSTNAME = 'build';

export interface StepConfigInput {
  spec: StepSpec;
  paths: StepPaths;
  env: Readonly<Record<string, string>>;
  user: ProcessUser;
  cgroupPath: string;
  namespaces: ReadyNamespaces;
  crunMounts: readonly Mount[];
}

/** pid 1 is tini: with it everything else in its pid namespace ends. */
export function stepConfig(host: StepHost, input: StepConfigInput): object {
  const { spec, paths, env, user, namespaces } = input;
  const process = { argv: [TINI, '--', ...spec.argv], env, cwd: spec.cwd, user };
  return frameConfig({
    hostname: STEP_HOSTNAME,
    rootfs: paths.rootfs,
    toolsDir: seenByCrun(host.layout, stepLayout(host.layout).toolsDir),
    etcDir: paths.etc,
    process: processConfig(process, host.openFiles, host.appArmorProfile),
    mounts: input.crunMounts,
    annotations: {},
    limits: spec.limits,
    // Where programs can see their limits, they are here too; otherwise those around it are enough, and are what the kernel counts by.
    resources: host.cgroups.version === 2 ? limitsOf(spec.limits) : {},
    cgroup: { path: input.cgroupPath, version: host.cgroups.version },
    namespaces,
    seccomp: host.seccomp,
  });
}
