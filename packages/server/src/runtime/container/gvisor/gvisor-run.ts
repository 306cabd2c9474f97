import { writeFileSync } from 'node:fs';
import type { ContainerLimits } from '../../types.ts';
import { type ConfigInput, INIT_OOM_SCORE_ADJ } from '../container-config.ts';
import type { ContainerHost } from '../container-host.ts';
import { runPaths } from '../layout.ts';
import { withOomScore } from '../oom-score.ts';
import { coverVirtualFiles } from './cover-virtual-files.ts';
import { gvisorConfig } from './gvisor-config.ts';
import type { GvisorState } from './gvisor-state.ts';
import type { Runsc } from './runsc.ts';
import { HIDE_CORE_SETTINGS, JOIN_CGROUPS } from './runsc-flags.ts';
import { runscName } from './runsc-name.ts';

/** Each process inside is two outside, and gVisor has threads of its own. */
const OWN_PIDS = 256;
const PIDS_FOR_ONE = 2;

export interface GvisorRun {
  host: ContainerHost;
  runsc: Runsc;
  state: GvisorState;
  id: string;
  input: ConfigInput;
}

/** Made in its cgroup, so that all of gVisor is counted; started with its network taken over from the namespace. */
export async function runGvisor({ host, runsc, state, id, input }: GvisorRun): Promise<void> {
  const { dir, config } = runPaths(host.layout, id);
  const ids = { base: host.idBase, count: host.idCount };
  writeFileSync(config, JSON.stringify(gvisorConfig(input, ids)), { mode: 0o600 });
  state.begin(id);
  coverVirtualFiles(input.rootfs);
  const joins = await host.cgroups.make(id, cgroupLimits(input.spec.limits));
  // All of gVisor is one process for the kernel: what is spared is the sandbox.
  await withOomScore(INIT_OOM_SCORE_ADJ, () =>
    runsc.call(['create', '--bundle', dir, runscName(id)], ['sh', '-euc', JOIN_CGROUPS, 'sh', ...joins, '--']),
  );
  await runsc.call(
    ['start', runscName(id)],
    ['unshare', '--mount', '--propagation', 'slave', 'sh', '-euc', HIDE_CORE_SETTINGS, 'sh', input.namespaces.netPath],
  );
  state.complete(id);
}

function cgroupLimits({ cpu, memoryBytes, pids }: ContainerLimits) {
  return { cpu, memoryBytes, pids: pids * PIDS_FOR_ONE + OWN_PIDS };
}
