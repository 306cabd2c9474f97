import { CPU_PERIOD_US, cpuQuota, cpuShares } from '../cgroup-control.ts';
import type { ContainerLimits, ContainerSpec, ProcessUser } from '../types.ts';

/**
 * Docker's capabilities without `NET_RAW` (forged packets and raw sockets) and `MKNOD` (of no use in a user namespace). They
 * hold inside the sandbox's own user namespace only.
 */
const CAPABILITIES = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

/** What shows or steers the whole machine. As in Docker and a little more; `/proc/sys` of its own namespaces is not told apart. */
const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/kallsyms',
  '/proc/key-users',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
/** `pressure` takes orders from whoever may write it, to be woken when the machine is short of something. */
const READ_ONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/pressure', '/proc/sys', '/proc/sysrq-trigger'];

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** The server and its database outlive any sandbox when the machine itself runs out of memory. */
export const OOM_SCORE_ADJ = 300;
/** When a sandbox's own memory is short, its commands go before pid 1, with which everything would go. */
export const INIT_OOM_SCORE_ADJ = 100;

/** The whole machine has some thousands, of which one sandbox could take all. */
const MAX_TERMINALS = 256;

export const TOOLS_TARGET = '/.darkroom';
export const INIT = `${TOOLS_TARGET}/init`;
export const TINI = `${TOOLS_TARGET}/tini`;

/** Where a restarted server finds which address block a running container has. */
export const NETWORK_ANNOTATION = 'darkroom.network';
/** And what it may reach, unless that was changed later: the firewall's own note is gone when the firewall was taken away. */
export const POLICY_ANNOTATION = 'darkroom.network-policy';
/** And the environment that its commands start from. pid 1 has none: every process inside may read pid 1's. */
export const ENV_ANNOTATION = 'darkroom.env';

export interface OpenFilesLimit {
  soft: number;
  hard: number;
}

export interface ConfigInput {
  spec: ContainerSpec;
  rootfs: string;
  toolsDir: string;
  /** Holds `hosts`, `hostname` and `resolv.conf` of this sandbox. */
  etcDir: string;
  cgroup: { path: string; version: 1 | 2 };
  namespaces: { index: number; userPath: string; netPath: string };
  seccomp: SeccompSetting;
  openFiles: OpenFilesLimit;
  /** Where the host has AppArmor. */
  appArmorProfile: string | undefined;
}

/** Compiled, as crun's annotation wants it; or the profile itself, which crun then compiles at every start. */
export type SeccompSetting = { bpf: string } | { profile: object };

/** The container as crun starts it (config.json of the OCI runtime specification). */
export function containerConfig(input: ConfigInput) {
  const { spec } = input;
  const root: ProcessUser = { uid: 0, gid: 0, additionalGids: [], home: '/root', name: 'root' };
  const pidOne = { argv: [INIT, '-P'], env: {}, cwd: '/', user: root };
  return frameConfig({
    ...input,
    hostname: spec.hostname,
    process: { ...processConfig(pidOne, input.openFiles, input.appArmorProfile), oomScoreAdj: INIT_OOM_SCORE_ADJ },
    mounts: [],
    annotations: {
      [NETWORK_ANNOTATION]: String(input.namespaces.index),
      [POLICY_ANNOTATION]: JSON.stringify(spec.network),
      [ENV_ANNOTATION]: JSON.stringify(spec.env),
    },
    limits: spec.limits,
    resources: limitsOf(spec.limits),
  });
}

/** What is around a process, whatever it is. */
export interface FrameInput extends Pick<ConfigInput, 'rootfs' | 'toolsDir' | 'etcDir' | 'cgroup' | 'seccomp'> {
  hostname: string;
  process: object;
  /** Behind those that every container has. */
  mounts: readonly Mount[];
  annotations: Readonly<Record<string, string>>;
  limits: ContainerLimits;
  /** What crun is to set of them. */
  resources: object;
  namespaces: { userPath: string; netPath: string };
}

export function frameConfig(input: FrameInput) {
  return {
    ociVersion: '1.0.2',
    hostname: input.hostname,
    root: { path: input.rootfs, readonly: false },
    process: input.process,
    mounts: [...mounts(input), ...input.mounts],
    annotations: {
      ...input.annotations,
      ...('bpf' in input.seccomp ? { 'run.oci.seccomp_bpf_data': input.seccomp.bpf } : {}),
    },
    linux: {
      namespaces: [
        // The network namespace belongs to this user namespace, made with it: that is what lets sysfs be mounted.
        { type: 'user', path: input.namespaces.userPath },
        { type: 'network', path: input.namespaces.netPath },
        { type: 'pid' },
        { type: 'ipc' },
        { type: 'uts' },
        { type: 'mount' },
        { type: 'cgroup' },
      ],
      cgroupsPath: input.cgroup.path,
      resources: { ...input.resources, devices: DEVICES },
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READ_ONLY_PATHS,
      ...('profile' in input.seccomp ? { seccomp: input.seccomp.profile } : {}),
    },
  };
}

export interface ProcessInput {
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  user: ProcessUser;
}

/** One process of a container; an exec needs every protection said again, because crun takes them from here. */
export function processConfig(input: ProcessInput, openFiles: OpenFilesLimit, appArmorProfile?: string): object {
  const { uid, gid, additionalGids, home } = input.user;
  const env = { PATH: DEFAULT_PATH, HOME: home, ...input.env };
  // As after a setuid to an ordinary user: what is not root has the bounds, and holds nothing.
  const held = uid === 0 ? CAPABILITIES : [];
  return {
    terminal: false,
    // Its own group among the others, as in Docker: a set-group-id program does not lose it, and what is refused to the group stays refused.
    user: { uid, gid, additionalGids: [...new Set([gid, ...additionalGids])], umask: 0o022 },
    args: input.argv,
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    cwd: input.cwd,
    noNewPrivileges: true,
    ...(appArmorProfile === undefined ? {} : { apparmorProfile: appArmorProfile }),
    oomScoreAdj: OOM_SCORE_ADJ,
    capabilities: { bounding: CAPABILITIES, effective: held, permitted: held, inheritable: [], ambient: [] },
    rlimits: [
      { type: 'RLIMIT_NOFILE', soft: openFiles.soft, hard: openFiles.hard },
      // Not 0: where crashes are piped to a program of the host, that is started all the same, and for 1 it is not.
      { type: 'RLIMIT_CORE', soft: 1, hard: 1 },
    ],
  };
}

/** As crun sets them. */
export function limitsOf(limits: ContainerLimits): object {
  return {
    memory: { limit: limits.memoryBytes, swap: limits.memoryBytes },
    cpu: { quota: cpuQuota(limits.cpu), period: CPU_PERIOD_US, shares: cpuShares(limits.cpu) },
    pids: { limit: limits.pids },
  };
}

/** The six that every program may expect, terminals, and nothing else. */
const DEVICES = [
  { allow: false, access: 'rwm' },
  ...[
    [1, 3],
    [1, 5],
    [1, 7],
    [1, 8],
    [1, 9],
    [5, 0],
    [5, 2],
    [136, undefined],
  ].map(([major, minor]) => ({
    allow: true,
    type: 'c',
    major,
    ...(minor === undefined ? {} : { minor }),
    access: 'rw',
  })),
];

/** As on an ordinary machine, half of the memory; it counts as the sandbox's memory either way. Browsers fail with Docker's 64 MiB. */
function sharedMemoryBytes(limits: ContainerLimits): number {
  return Math.floor(limits.memoryBytes / 2);
}

export interface Mount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

function mounts({ limits, toolsDir, etcDir, cgroup }: FrameInput): Mount[] {
  const virtual = (destination: string, type: string, ...options: string[]) => ({
    destination,
    type,
    source: type,
    options: ['nosuid', ...options],
  });
  const bind = (destination: string, source: string, ...options: string[]) => ({
    destination,
    type: 'bind',
    source,
    options: ['bind', 'nosuid', 'nodev', ...options],
  });
  return [
    virtual('/proc', 'proc', 'noexec', 'nodev'),
    virtual('/dev', 'tmpfs', 'strictatime', 'mode=755', 'size=65536k'),
    virtual(
      '/dev/pts',
      'devpts',
      'noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
      `max=${MAX_TERMINALS}`,
    ),
    virtual('/dev/shm', 'tmpfs', 'noexec', 'nodev', 'mode=1777', `size=${sharedMemoryBytes(limits)}`),
    virtual('/dev/mqueue', 'mqueue', 'noexec', 'nodev'),
    virtual('/sys', 'sysfs', 'noexec', 'nodev', 'ro'),
    // Programs size themselves by the limits that they find here. On v1 that is a dozen mounts for each start, of the host's
    // own hierarchies; they get along without.
    ...(cgroup.version === 2 ? [virtual('/sys/fs/cgroup', 'cgroup', 'noexec', 'nodev', 'relatime', 'ro')] : []),
    bind(TOOLS_TARGET, toolsDir, 'ro'),
    // As Docker has them: the sandbox's root may change them, and a start writes them anew.
    bind('/etc/hosts', `${etcDir}/hosts`),
    bind('/etc/hostname', `${etcDir}/hostname`),
    bind('/etc/resolv.conf', `${etcDir}/resolv.conf`),
  ];
}
