import { geteuid } from 'node:process';
import type { Config } from '../platform/config-schema.ts';
import { type ProbeCheck, runCheck } from './probe-check.ts';
import { probeContainer } from './probe-container.ts';
import { probeDisk, probeLoop, probePool } from './probe-disk.ts';
import { probeGvisor } from './probe-gvisor.ts';
import { probeCgroups, probeForwarding, probeKernel, probeMemory, probeNameServer, probeUser } from './probe-host.ts';
import { probeShiftedOverlay } from './probe-shifted.ts';
import type { ProbeRow } from './probe-table.ts';
import { probeAppArmor, probeCrun, probeDiskTools, probeInit, probeInterfaces, probeNftables } from './probe-tools.ts';

/** The part of the configuration that the machine is tried for. */
export type ProbeConfig = Pick<Config, 'stateDir'> & {
  runtime: Pick<Config['runtime'], 'crun' | 'gvisor' | 'idBase' | 'idCount' | 'diskLimits'>;
  network: Pick<Config['network'], 'dns'>;
};

/**
 * Tries what Darkroom needs of this machine, each for real and all at once, and says what works. Nothing is changed; what a try
 * makes has a name of its own and is gone at the end. Never raises: what cannot be tried is a row that failed.
 */
export async function probeMachine(config: ProbeConfig): Promise<ProbeRow[]> {
  const isRoot = geteuid?.() === 0;
  const rows = await Promise.all(checks(config, isRoot).map((check) => runCheck(check, isRoot)));
  return rows;
}

function checks({ stateDir, runtime, network }: ProbeConfig, isRoot: boolean): ProbeCheck[] {
  // Two rows of one try; it starts with the first that asks.
  let shifted: ReturnType<typeof probeShiftedOverlay> | undefined;
  const shiftedOverlay = () => (shifted ??= probeShiftedOverlay(runtime));
  let outlook: ReturnType<typeof probePool> | undefined;
  const pool = () => (outlook ??= probePool(stateDir));

  return [
    { name: 'user', advice: '', run: async () => probeUser(isRoot) },
    { name: 'kernel', advice: '', run: async () => probeKernel() },
    { name: 'cgroups', advice: 'Mount cgroups at /sys/fs/cgroup.', run: probeCgroups },
    {
      name: 'user namespaces',
      needsRoot: true,
      advice: 'Allow them: `sysctl -w user.max_user_namespaces=15000`.',
      run: async () => (await shiftedOverlay()).namespace,
    },
    {
      name: 'overlayfs',
      needsRoot: true,
      advice: 'Load the module: `modprobe overlay`.',
      run: async () => (await shiftedOverlay()).overlay,
    },
    { name: 'crun', advice: 'apt-get install crun', run: () => probeCrun(runtime.crun) },
    { name: 'init', advice: 'apt-get install catatonit tini', run: probeInit },
    {
      name: 'container',
      needsRoot: true,
      advice: 'See the message; in a container, it needs CAP_SYS_ADMIN, an unmasked /proc and writable cgroups.',
      run: () => probeContainer(runtime.crun, runtime),
    },
    { name: 'AppArmor', advice: 'apt-get install apparmor', run: probeAppArmor },
    { name: 'gVisor', needsRoot: true, advice: 'Nothing needs it.', run: () => probeGvisor(runtime) },
    { name: 'nftables', needsRoot: true, advice: 'apt-get install nftables', run: probeNftables },
    { name: 'interfaces', needsRoot: true, advice: 'apt-get install iproute2', run: probeInterfaces },
    { name: 'IP forwarding', advice: 'Mount /proc.', run: probeForwarding },
    { name: 'name server', advice: 'Set network.dns.', run: () => probeNameServer(network.dns) },
    {
      name: 'pool',
      needsRoot: true,
      advice: 'apt-get install xfsprogs, or choose a state directory on XFS or btrfs with --state-dir.',
      run: async () => (await pool()).result,
    },
    {
      name: 'loop devices',
      needsRoot: true,
      advice: '`modprobe loop`',
      run: async () => probeLoop(runtime.diskLimits || ((await pool().catch(() => undefined))?.needsLoop ?? true)),
    },
    ...(runtime.diskLimits ? [{ name: 'disk tools', advice: 'apt-get install e2fsprogs', run: probeDiskTools }] : []),
    { name: 'disk', advice: 'Choose another disk with --state-dir.', run: () => probeDisk(stateDir) },
    { name: 'memory', advice: 'Mount /proc.', run: probeMemory },
  ];
}
