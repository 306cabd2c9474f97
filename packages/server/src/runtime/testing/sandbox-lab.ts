import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { MNT_DETACH, mount, unmount } from '../../platform/libc.ts';
import { fillWithBusybox, shiftOwners } from '../../test-support/root-file-system.ts';
import { processStat } from '../container/live-container.ts';
import { instanceTag } from '../instance-tag.ts';
import { readMounts } from '../mount-info.ts';
import { createNetworkPool } from '../network/network-pool.ts';
import type { RuntimeOptions } from '../open-host.ts';
import { ensurePool } from '../pool.ts';
import { mountNamespace, prepareCgroups } from '../prepare-cgroups.ts';
import { createRuntime } from '../runtime.ts';
import type { ContainerSpec, ExecSpec, ProcessUser, SandboxRuntime } from '../types.ts';

export const ID_BASE = 1_000_000_000;
export const ID_COUNT = 1_000_000_000;
export const MIB = 1024 * 1024;

const quiet = { info: () => {}, warn: () => {}, error: () => {} };

export interface Finished {
  exitCode: number;
  signal: string | undefined;
  stdout: string;
  stderr: string;
}

/** A runtime on this machine with a state directory, a tag and a snapshot of its own. */
export interface SandboxLab {
  readonly runtime: SandboxRuntime;
  readonly baseLayer: string;
  readonly poolRoot: string;
  readonly runDir: string;
  spec(id: string, changes?: Partial<ContainerSpec>): ContainerSpec;
  start(id: string, changes?: Partial<ContainerSpec>): Promise<void>;
  /** Runs a shell script to its end. */
  sh(id: string, script: string, changes?: Partial<ExecSpec>): Promise<Finished>;
  /** Closes the runtime without ending anything, and opens another over the same state. */
  reopen(): Promise<void>;
  /** Ends every sandbox and leaves nothing of the lab behind. */
  close(): Promise<void>;
}

export const root: ProcessUser = { uid: 0, gid: 0, additionalGids: [], home: '/root', name: 'root' };

export interface LabOptions {
  /** Bounds the pool, by a file system of its own in memory. */
  poolBytes?: number;
  /** Gives it a pool with reflinks of this size, as servers have it: disks of sandboxes are cloned there. */
  imageBytes?: number;
  /** The path of a runsc, under which all sandboxes run; `LAB_GVISOR` names it to processes that open a lab. */
  gvisor?: string;
  stepSettings?: Pick<RuntimeOptions['settings'], 'stepEnvironment' | 'caFiles'>;
}

/** A state directory that is to be handed to another process; `openLab` makes its own. */
export async function makeLabState(options: LabOptions = {}): Promise<string> {
  const stateDir = await mkdtemp(join(tmpdir(), 'darkroom-runtime-'));
  if (options.poolBytes !== undefined) {
    await mkdir(join(stateDir, 'pool'));
    mount('tmpfs', join(stateDir, 'pool'), 'tmpfs', 0, `size=${options.poolBytes}`);
  }
  if (options.imageBytes !== undefined) await ensurePool({ stateDir, maxBytes: options.imageBytes });
  const baseLayer = join(stateDir, 'pool', 'layers', 'base', 'diff');
  await mkdir(baseLayer, { recursive: true });
  await fillWithBusybox(baseLayer);
  await shiftOwners(baseLayer, ID_BASE);
  return stateDir;
}

export async function openLabRuntime(stateDir: string, gvisor = 'off', stepSettings: LabOptions['stepSettings'] = {}) {
  const tag = instanceTag(stateDir);
  const runDir = `/run/darkroom-${tag}`;
  await mkdir(runDir, { recursive: true });
  const cgroups = await prepareCgroups({ tag, hostMountNamespace: await outermostMountNamespace() });
  const network = createNetworkPool({
    tag,
    runDir: join(runDir, 'network'),
    cidr: `10.${220 + (process.pid % 30)}.${(process.pid >> 5) % 256}.0/23`.replace(
      /\d+\.0\/23$/,
      (end) => `${Number.parseInt(end, 10) & 0xfe}.0/23`,
    ),
    idBase: ID_BASE,
    idCount: ID_COUNT,
    ready: 4,
    allowPrivate: [],
    log: quiet,
  });
  const runtime = createRuntime({
    poolRoot: join(stateDir, 'pool'),
    runDir,
    cacheDir: join(stateDir, 'cache'),
    settings: {
      crun: 'crun',
      gvisor,
      idBase: ID_BASE,
      idCount: ID_COUNT,
      startConcurrency: 8,
      readyDisks: 2,
      ...stepSettings,
    },
    cgroups,
    network,
    log: quiet,
  });
  await runtime.open();
  return { runtime, runDir, cgroups };
}

export async function openLab(stateFrom?: string, options: LabOptions = {}): Promise<SandboxLab> {
  const stateDir = stateFrom ?? (await makeLabState(options));
  const poolRoot = join(stateDir, 'pool');
  const baseLayer = join(poolRoot, 'layers', 'base', 'diff');
  const gvisor = options.gvisor ?? process.env.LAB_GVISOR;
  let current = await openLabRuntime(stateDir, gvisor, options.stepSettings);

  const spec = (id: string, changes: Partial<ContainerSpec> = {}): ContainerSpec => ({
    id,
    hostname: id,
    layers: [baseLayer],
    env: {},
    limits: { cpu: 1, memoryBytes: 256 * MIB, pids: 128 },
    network: { blockAll: false },
    ...(gvisor === undefined ? {} : { sandboxClass: 'gvisor' }),
    ...changes,
  });

  return {
    get runtime() {
      return current.runtime;
    },
    baseLayer,
    poolRoot,
    runDir: current.runDir,
    spec,
    async start(id, changes) {
      await current.runtime.start(spec(id, changes));
    },
    sh: (id, script, changes) => finish(current.runtime, id, { ...shell(script), ...changes }),
    async reopen() {
      await current.runtime.close();
      current = await openLabRuntime(stateDir, gvisor, options.stepSettings);
    },
    async close() {
      for (const { id } of await current.runtime.list()) await current.runtime.remove(id);
      await current.runtime.close();
      await current.cgroups.removeParent();
      for (const { target } of await readMounts()) {
        if (target.startsWith(`${current.runDir}/`) || target.startsWith(`${stateDir}/`)) unmount(target, MNT_DETACH);
      }
      await rm(current.runDir, { recursive: true, force: true });
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

export function shell(script: string): ExecSpec {
  return { argv: ['/bin/sh', '-c', script], env: {}, cwd: '/', user: root };
}

export async function finish(runtime: SandboxRuntime, id: string, spec: ExecSpec): Promise<Finished> {
  const process = await runtime.exec(id, spec);
  process.stdin.end();
  const [stdout, stderr, end] = await Promise.all([buffer(process.stdout), buffer(process.stderr), process.exited]);
  return { ...end, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** Of the process furthest up that shows it: tests run in a namespace that one of their parents made. */
async function outermostMountNamespace(): Promise<string> {
  let found = await mountNamespace();
  for (let pid = process.ppid; pid > 0; pid = processStat(pid)?.parent ?? 0) {
    try {
      found = await mountNamespace(pid);
    } catch {
      break;
    }
  }
  return found;
}
