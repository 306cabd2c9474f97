import { existsSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { conflict, DarkroomError, invalidRequest, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { captureFiles, forkFiles } from './capture.ts';
import { findContainers } from './container/adopt.ts';
import type { ContainerHost } from './container/container-host.ts';
import { notRunning, syncFiles } from './container/container-root.ts';
import { hasDisk } from './container/disk/sandbox-disks.ts';
import { cleanUpContainer } from './container/end-container.ts';
import { execInContainer } from './container/exec.ts';
import { containerFiles } from './container/files.ts';
import { isContainerId, layoutOf, sandboxPaths } from './container/layout.ts';
import { endLeftoverExecs } from './container/leftover-execs.ts';
import { holdContainer, type LiveContainer } from './container/live-container.ts';
import { writePolicyChange } from './container/network-policy-file.ts';
import { unmountQuietly } from './container/overlay.ts';
import { removeSandboxDir } from './container/sandbox-dir.ts';
import { startContainer } from './container/start-container.ts';
import { openContainerTerminal } from './container/terminal.ts';
import { endTransfers } from './container/transfers.ts';
import { resolveContainerUser } from './container/users.ts';
import { openHost, type RuntimeOptions } from './open-host.ts';
import { resizeContainer } from './resize.ts';
import { createKeyedQueue, createSemaphore } from './semaphore.ts';
import { createStepRuntime } from './steps/step-runtime.ts';
import type { ContainerExit, ContainerSpec, ContainerStatus, SandboxRuntime } from './types.ts';
import { readUsage } from './usage.ts';

interface Running {
  container: LiveContainer;
  /** Resolves when it has ended and all that it had is taken away. */
  gone: Promise<void>;
  isGone: () => void;
}

/** Ended by SIGKILL, a container may still wait for a disk in the kernel. */
const END_TIMEOUT_MS = 30_000;

/** Containers on this machine, by crun. Must run as root, in a mount namespace of its own. */
export function createRuntime(options: RuntimeOptions): SandboxRuntime {
  const { log } = options;
  const layout = layoutOf(options.poolRoot, options.runDir);
  const running = new Map<string, Running>();
  /** Paused under an earlier server, with what that one was in the middle of. */
  const pausedSinceBefore = new Set<string>();
  const listeners: ((exit: ContainerExit) => void)[] = [];
  const inOrder = createKeyedQueue();
  const startSlot = createSemaphore(options.settings.startConcurrency);
  const steps = createStepRuntime({
    crun: options.settings.crun,
    startConcurrency: options.settings.startConcurrency,
    environment: options.settings.stepEnvironment ?? {},
    caFiles: options.settings.caFiles ?? [],
  });
  let opened: ContainerHost | undefined;

  function host(): ContainerHost {
    if (opened) return opened;
    throw new DarkroomError('unavailable', 'the runtime is not open');
  }

  function find(id: string): LiveContainer {
    const container = running.get(id)?.container;
    if (container?.isAlive()) return container;
    throw notRunning(id);
  }

  const alive = (id: string) => {
    const container = running.get(id)?.container;
    return container?.isAlive() ? container : undefined;
  };

  /** A copy that takes too long is a failure for who asked for it, and goes on; what comes next waits for it. */
  function copyInOrder<T>(id: string, copy: () => Promise<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    const work = inOrder(id, async () => {
      const copying = Promise.resolve().then(copy);
      resolve(copying);
      await copying.catch(() => {});
      await opened?.disks.copied(id);
    });
    work.catch(() => {});
    return promise;
  }

  /** For what needs its processes to move. */
  function findMoving(id: string): LiveContainer {
    const container = find(id);
    if (container.isPaused) throw conflict(`sandbox ${id} is paused`, { hint: 'Start it to resume.' });
    return container;
  }

  function register(container: LiveContainer): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    running.set(container.id, { container, gone: promise, isGone: resolve });
  }

  async function onEnd(container: LiveContainer): Promise<void> {
    const { id } = container;
    if (opened === undefined) return;
    endTransfers(container);
    const oomKills = await opened.cgroups.oomKills(id).catch(() => undefined);
    container.forget();
    await failpoint('stop.killed');
    await cleanUpContainer(opened, id, container.network);
    const entry = running.get(id);
    running.delete(id);
    pausedSinceBefore.delete(id);
    entry?.isGone();
    if (container.endsOnPurpose) return;
    const reason = (oomKills ?? 0) > 0 ? 'out of memory' : 'ended';
    log.warn({ sandbox: id, reason }, 'a sandbox ended by itself');
    for (const listener of listeners) listener({ id, reason });
  }

  const ended = (container: LiveContainer) => {
    onEnd(container).catch((error: unknown) =>
      log.error({ sandbox: container.id, error: messageOf(error) }, 'the end of a sandbox could not be handled'),
    );
  };

  /** Gigabytes that were never written would otherwise be, before they are deleted. */
  async function abandonDisk(id: string): Promise<void> {
    await host()
      .disks.abandon(id)
      .catch((error: unknown) => log.warn({ sandbox: id, error: messageOf(error) }, 'a disk is written to its end'));
  }

  /** Kills it and waits until nothing of it is left. */
  async function end({ container, gone }: Running): Promise<void> {
    container.endsOnPurpose = true;
    container.kill();
    // What is frozen dies when it is thawed.
    if (container.isPaused) await thaw(container);
    const timer = new AbortController();
    const late = sleep(END_TIMEOUT_MS, 'late', { signal: timer.signal }).catch(() => 'aborted');
    const first = await Promise.race([gone, late]);
    timer.abort();
    if (first === 'late') {
      throw new DarkroomError('unavailable', `sandbox ${container.id} was killed and does not end`, {
        retryable: true,
        hint: 'A process in it waits in the kernel, for a disk most likely; see dmesg.',
      });
    }
  }

  async function thaw(container: LiveContainer): Promise<void> {
    await host().cgroups.freeze(container.id, false);
    container.isPaused = false;
  }

  async function start(spec: ContainerSpec): Promise<ContainerStatus> {
    const current = running.get(spec.id);
    if (current?.container.isAlive()) throw conflict(`sandbox ${spec.id} is running already`);
    await current?.gone;
    const container = await startSlot(() => startContainer(host(), spec, ended));
    register(container);
    return { id: spec.id, running: true, paused: false, pid: container.pid };
  }

  /** What a container became under an earlier server. */
  async function readState({ cgroups }: ContainerHost, container: LiveContainer): Promise<void> {
    container.isPaused = await cgroups.isFrozen(container.id);
    container.oomKillsSeen = (await cgroups.oomKills(container.id)) ?? 0;
  }

  async function adopt(into: ContainerHost): Promise<void> {
    const { found, leftovers } = await findContainers(into.engines, layout);
    for (const container of found) {
      const held = holdContainer(container, into.watcher, ended);
      if (held) await readState(into, held);
      if (held) register(held);
      else leftovers.push(container.id);
    }
    const inUse = found
      .filter(({ id }) => running.has(id))
      .map(({ network: { index }, policy }) => ({ index, policy }));
    await steps.open(into);
    await options.network.open(inUse, into.watcher);
    await failpoint('recover.adopted');
    for (const id of leftovers) await cleanUpContainer(into, id, undefined);
    const ids = [...running.values()].map(({ container }) => container);
    await endLeftoverExecs(
      into,
      ids.filter(({ isPaused }) => !isPaused).map(({ id }) => id),
    );
    // What is frozen cannot end; nothing is started in it before it goes on.
    for (const { id, isPaused } of ids) if (isPaused) pausedSinceBefore.add(id);
    await into.cgroups.removeLeftovers(new Set(running.keys()));
    log.info({ adopted: running.size, leftovers: leftovers.length }, 'the runtime is open');
  }

  async function close(): Promise<void> {
    const closing = opened;
    if (!closing) return;
    opened = undefined;
    for (const { container } of running.values()) container.forget();
    running.clear();
    pausedSinceBefore.clear();
    await steps.close();
    unmountQuietly(layout.poolView);
    for (const engine of Object.values(closing.engines)) engine.close();
    // Before the watcher, which tells it of the ends of its tools.
    await closing.disks.close();
    await options.network.close();
    await closing.watcher.close();
  }

  return {
    steps,

    checkClass: (sandboxClass) => host().engines[sandboxClass].check(),

    async start(spec) {
      checkId(spec.id);
      host();
      return inOrder(spec.id, () => start(spec));
    },

    stop(id, { graceMs }) {
      return inOrder(id, async () => {
        // A closed runtime knows of nothing that runs, and must not say that nothing does.
        const into = host();
        const current = running.get(id);
        if (!current) return;
        current.container.endsOnPurpose = true;
        if (graceMs > 0 && current.container.isPaused) await thaw(current.container);
        if (graceMs > 0) await current.container.engine.terminate(into, current.container, graceMs);
        await end(current);
      });
    },

    remove(id) {
      return inOrder(id, async () => {
        checkId(id);
        host();
        const current = running.get(id);
        if (current) {
          await abandonDisk(id);
          await end(current);
        }
        await removeSandboxDir(layout, id);
      });
    },

    setNetwork(id, policy) {
      return inOrder(id, async () => {
        const { network } = find(id);
        // Written first: a server that dies in between leaves what the next one is to put in force.
        writePolicyChange(layout, id, policy);
        await host().network.setPolicy(network, policy);
      });
    },

    resize(id, limits) {
      return inOrder(id, async () => {
        const into = host();
        const container = running.get(id)?.container;
        if (!container?.isAlive()) return;
        await resizeContainer(into, id, limits);
      });
    },

    pause(id) {
      return inOrder(id, async () => {
        const container = find(id);
        if (container.isPaused) return;
        // From here on nothing joins it; what has joined stands still with it.
        container.isPaused = true;
        try {
          await host().cgroups.freeze(id, true);
        } catch (error) {
          container.isPaused = false;
          throw error;
        }
      });
    },

    resume(id) {
      return inOrder(id, async () => {
        const container = find(id);
        await host().cgroups.freeze(id, false);
        if (pausedSinceBefore.delete(id)) await endLeftoverExecs(host(), [id]);
        container.isPaused = false;
      });
    },

    capture(id) {
      checkId(id);
      return copyInOrder(id, () => captureFiles(host(), id, alive(id)));
    },

    writeBack(id) {
      checkId(id);
      return inOrder(id, async () => {
        if (alive(id) !== undefined && hasDisk(sandboxPaths(layout, id).dir)) await host().disks.writeBack(id);
      });
    },

    fork(id, children) {
      for (const each of [id, ...children]) checkId(each);
      return copyInOrder(id, () => forkFiles(host(), id, children, alive(id)));
    },

    isUnsettledFork(id) {
      checkId(id);
      return existsSync(sandboxPaths(layout, id).borrowed);
    },

    async settleFork(id) {
      // Else a power cut could bring back what was taken out, and not the mark.
      await syncFiles(find(id));
      rmSync(sandboxPaths(layout, id).borrowed, { force: true });
    },

    usage(id) {
      checkId(id);
      const container = running.get(id)?.container;
      return readUsage(host(), id, container?.isAlive() ? container : undefined);
    },

    totals: async () => host().cgroups.totals(),

    async newOomKills(id) {
      const container = running.get(id)?.container;
      if (!container?.isAlive()) return 0;
      const kills = (await host().cgroups.oomKills(id)) ?? 0;
      const unseen = Math.max(0, kills - container.oomKillsSeen);
      container.oomKillsSeen += unseen;
      return unseen;
    },

    async list() {
      const kept = (await readdir(layout.sandboxesDir)).filter(isContainerId);
      return [...new Set([...running.keys(), ...kept])].map((id) => {
        const container = running.get(id)?.container;
        const isRunning = container?.isAlive() === true;
        const paused = isRunning && container?.isPaused === true;
        return { id, running: isRunning, paused, pid: isRunning ? container?.pid : undefined };
      });
    },

    async exec(id, spec) {
      return execInContainer(host(), findMoving(id), spec);
    },

    async openTerminal(id, spec) {
      return openContainerTerminal(host(), findMoving(id), spec);
    },

    async resolveUser(id, user) {
      return resolveContainerUser(find(id), user, options.settings.idCount);
    },

    files: (id) => containerFiles(host(), () => find(id)),

    async connect(id, port, connectOptions) {
      host();
      const container = find(id);
      const address = options.network.addressOf(container.network);
      return container.engine.connect(host(), container, port, { address, signal: connectOptions?.signal });
    },

    async listeningPorts(id) {
      const container = find(id);
      return container.engine.listeningPorts(host(), container);
    },

    onExit: (listener) => void listeners.push(listener),

    async open() {
      if (opened) throw conflict('the runtime is open already');
      opened = await openHost(options, layout);
      try {
        await adopt(opened);
      } catch (error) {
        await close().catch((closing: unknown) =>
          log.error({ error: messageOf(closing) }, 'a runtime that did not open could not be closed completely'),
        );
        throw error;
      }
    },

    close,
  };
}

function checkId(id: string): void {
  if (!isContainerId(id)) throw invalidRequest(`${id} cannot be the id of a sandbox`);
}
