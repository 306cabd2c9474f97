import { mkdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { DarkroomError, errnoOf, invalidRequest, messageOf } from '../../platform/errors.ts';
import { failpointSync } from '../../platform/failpoints.ts';
import { MS_NODEV, MS_NOSUID, mount } from '../../platform/libc.ts';
import type { ContainerSpec } from '../types.ts';
import type { ContainerHost } from './container-host.ts';
import { runPaths, seenByCrun } from './layout.ts';
import { holdContainer, type LiveContainer } from './live-container.ts';
import { unmountQuietly } from './overlay.ts';
import { removeSandboxDir, writeNameFiles } from './sandbox-dir.ts';
import { openWritable } from './writable-place.ts';

/** Undoing, in reverse order, of what a start has done so far. */
type Undo = () => Promise<unknown>;

/** From a directory of layers to a running pid 1, or to nothing at all. */
export async function startContainer(
  host: ContainerHost,
  spec: ContainerSpec,
  onEnd: (container: LiveContainer) => void,
): Promise<LiveContainer> {
  const undo: Undo[] = [];
  try {
    return await startSteps(host, spec, onEnd, undo);
  } catch (error) {
    for (const step of undo.reverse()) {
      await step().catch((cause: unknown) =>
        host.log.error({ sandbox: spec.id, error: messageOf(cause) }, 'a failed start could not be undone completely'),
      );
    }
    throw startError(error, spec);
  }
}

async function startSteps(
  host: ContainerHost,
  spec: ContainerSpec,
  onEnd: (container: LiveContainer) => void,
  undo: Undo[],
): Promise<LiveContainer> {
  const engine = host.engines[spec.sandboxClass ?? 'container'];
  await engine.check();
  const topLayer = spec.layers.at(-1);
  if (topLayer === undefined) throw invalidRequest('a sandbox needs at least one layer');
  const runtime = runPaths(host.layout, spec.id);

  const ready = host.network.take();
  // Taken whatever happens to the other steps; whoever fails first is reported.
  undo.push(() =>
    ready.then(
      (namespaces) => host.network.release(namespaces),
      () => undefined,
    ),
  );
  // Awaited below; should an earlier step raise first, nobody else hears of this one's failure.
  ready.catch(() => undefined);
  const place = await openWritable(host, spec, topLayer);
  if (place.made) undo.push(() => removeSandboxDir(host.layout, spec.id));
  failpointSync('start.place-opened');
  let holdsPlace = true;
  const letGo = () => {
    if (holdsPlace) place.letGo();
    holdsPlace = false;
  };
  undo.push(async () => letGo());
  undo.push(() => rm(runtime.dir, { recursive: true, force: true }));
  mkdirSync(runtime.rootfs, { recursive: true, mode: 0o711 });
  undo.push(async () => unmountQuietly(runtime.rootfs));
  await host.mountOverlay({
    layers: [host.layout.skeletonDir, ...spec.layers],
    upper: place.upper,
    work: place.work,
    target: runtime.rootfs,
  });
  // The overlay holds what it needs by a mount of its own.
  letGo();
  mountNameFiles(runtime.etc);
  undo.push(async () => unmountQuietly(runtime.etc));
  failpointSync('start.mounted');
  const namespaces = await ready;
  failpointSync('start.network-taken');

  const input = {
    spec,
    rootfs: runtime.rootfs,
    toolsDir: seenByCrun(host.layout, host.layout.toolsDir),
    etcDir: runtime.etc,
    cgroup: { path: host.cgroups.pathFor(spec.id), version: host.cgroups.version },
    namespaces,
    seccomp: host.seccomp,
    openFiles: host.openFiles,
    appArmorProfile: host.appArmorProfile,
  };
  // Of an earlier run that could not be cleaned up.
  rmSync(runtime.policy, { force: true });
  writeNameFiles(runtime.etc, {
    hostname: spec.hostname,
    address: namespaces.address,
    resolvConf: host.network.resolvConf(),
    idBase: host.idBase,
  });
  await host.network.setPolicy(namespaces, spec.network);

  undo.push(async () => {
    await engine.delete(host, spec.id);
    await host.cgroups.remove(spec.id);
  });
  await engine.run(host, spec.id, input);
  failpointSync('start.container-run');
  // The container has its own copy of the mount; ours would only be copied into the next one's namespace.
  unmountQuietly(runtime.rootfs);
  unmountQuietly(runtime.etc);

  const status = engine.status(spec.id);
  const live = status && { id: spec.id, engine, status, env: spec.env, network: { index: namespaces.index } };
  const container = live && holdContainer(live, host.watcher, onEnd);
  if (container) return container;
  throw new DarkroomError('unavailable', 'the sandbox ended while it started', {
    retryable: true,
    hint: 'When this repeats, its memory limit may be too small, or the machine is out of memory (dmesg).',
  });
}

/**
 * The sandbox's root may write to these files: a small file system in memory bounds them, and a full disk of the sandbox does
 * not keep it from starting.
 */
export function mountNameFiles(target: string): void {
  mkdirSync(target, { mode: 0o755 });
  mount('tmpfs', target, 'tmpfs', MS_NOSUID | MS_NODEV, 'size=1m,nr_inodes=16,mode=755');
}

function startError(error: unknown, spec: ContainerSpec): unknown {
  if (error instanceof DarkroomError) return error;
  const code = errnoOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DarkroomError('insufficient_storage', 'no space is left to start a sandbox', { cause: error });
  }
  if (code === 'EMFILE' || code === 'ENFILE') {
    return new DarkroomError('unavailable', 'the server has too many open files', { cause: error, retryable: true });
  }
  return new DarkroomError('internal', `start sandbox ${spec.id}: ${messageOf(error)}`, { cause: error });
}
