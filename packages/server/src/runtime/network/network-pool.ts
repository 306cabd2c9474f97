import { randomInt } from 'node:crypto';
import { DarkroomError, messageOf } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { createKeyedQueue } from '../semaphore.ts';
import type { NetworkPolicy } from '../types.ts';
import { createAddressBlocks } from './address-blocks.ts';
import { type AddressPlan, addressPlan } from './address-plan.ts';
import { deleteLink } from './delete-link.ts';
import { createDnsForwarder } from './dns/forwarder.ts';
import { reachableAddresses } from './dns/reachable-address.ts';
import { createUpstream } from './dns/upstream.ts';
import { createFirewall } from './firewall.ts';
import { watchFirewall } from './firewall-watch.ts';
import { forwardDropWarning } from './host-firewall.ts';
import { enableForwarding } from './ip-forwarding.ts';
import { clearRunDir, deleteInterfaces, existingInterfaces } from './leftovers.ts';
import { type ReadyNamespaces, unpin, withPaths } from './make-namespaces.ts';
import { resolverFor } from './name-servers.ts';
import { createNamespaceStock } from './namespace-stock.ts';
import type { NetworkLog } from './network-log.ts';
import { createNft } from './nft.ts';
import { isDefaultPolicy, keyOf, rulesFor, type SandboxRules } from './sandbox-rules.ts';

export type { ReadyNamespaces } from './make-namespaces.ts';
export type { NetworkLog } from './network-log.ts';

export interface NetworkPoolOptions {
  /** Eight hex digits of this server (`instanceTag`): in the name of every interface and of the nft table. */
  tag: string;
  /** Where namespaces are pinned; in the server's private mount namespace, so that a kill lets them go. */
  runDir: string;
  cidr: string;
  /** Host ids that are 0 and up in each user namespace. */
  idBase: number;
  idCount: number;
  /** How many are kept ready. */
  ready: number;
  allowPrivate: readonly string[];
  dns?: readonly string[] | undefined;
  log: NetworkLog;
}

/**
 * User and network namespaces for sandboxes, made ahead of time, and the firewall between sandboxes, the host and the world.
 * The firewall stays when the server ends while sandboxes run; it goes with the last of them (`close` without any in use).
 */
export interface NetworkPool {
  /**
   * Puts the firewall in place (replacing an older server's), takes away what earlier runs left except the blocks in use,
   * and begins to fill the pool. Call once, before anything else. The watcher tells of the ends of tools; it must live until
   * `close` has resolved.
   */
  open(inUse: readonly { index: number; policy?: NetworkPolicy | undefined }[], watcher: ExitWatcher): Promise<void>;
  /** At once when one is ready, else as soon as one is made. `unavailable` when none can be had within half a minute. */
  take(signal?: AbortSignal): Promise<ReadyNamespaces>;
  /** Call when nothing runs in them any more. Idempotent. */
  release(namespaces: { index: number }): Promise<void>;
  /** Counts a block as in use that a running container has from an earlier server. */
  adopt(index: number): ReadyNamespaces;
  /** The sandbox's own address. */
  addressOf(namespaces: { index: number }): string;
  /**
   * What the sandbox may reach from now on, also by connections that it has; the host can open connections to it all the same.
   * Costs nothing when it is the default and was. Holds while no server runs; the next one has to be told again by `open`.
   */
  setPolicy(namespaces: { index: number }, policy: NetworkPolicy): Promise<void>;
  /** Takes its network away for good, so that a loopback interface is all that is left in it. */
  cutOff(namespaces: { index: number }): Promise<void>;
  /** The sandboxes' /etc/resolv.conf. */
  resolvConf(): string;
  /** Lets go of what was made ahead of time. Sandboxes keep their network. Idempotent. */
  close(): Promise<void>;
}

export function createNetworkPool(options: NetworkPoolOptions): NetworkPool {
  const plan = addressPlan(options.cidr, options.tag);
  const blocks = createAddressBlocks(plan, randomInt(plan.size));
  const resolver = resolverFor(options.dns, options.log);
  const firewall = createFirewall({
    tag: options.tag,
    cidr: plan.cidr,
    interfacePrefix: plan.interfacePrefix,
    nameServers: resolver.nameServers,
    allowPrivate: options.allowPrivate,
  });
  const stock = createNamespaceStock({ ...options, plan, blocks });
  const forwarder = createDnsForwarder({
    ask: createUpstream(resolver.nameServers),
    mayReach: reachableAddresses({ cidr: plan.cidr, allowPrivate: options.allowPrivate }),
    firewall,
    log: options.log,
  });
  const inOrder = createKeyedQueue();
  const inUse = new Set<number>();
  const inForce = new Map<number, NetworkPolicy>();
  let stopWatch = async () => {};
  let closed = false;
  let watching: ExitWatcher | undefined;

  function adopt(index: number): ReadyNamespaces {
    const namespaces = withPaths(plan.block(index), options.runDir);
    if (blocks.isUsed(index) && !inUse.has(index)) {
      throw new DarkroomError('internal', `the address block ${index} was given out before it was adopted`);
    }
    blocks.use(index);
    inUse.add(index);
    return namespaces;
  }

  async function prepareRules(index: number, policy: NetworkPolicy): Promise<SandboxRules | undefined> {
    const block = plan.block(index);
    // Before the firewall sends the sandbox's questions there.
    const port = await forwarder.serve(block, policy.allowDomains ?? []);
    return isDefaultPolicy(policy) ? undefined : rulesFor(block, policy, port);
  }

  /** One that cannot be guarded as it should be must not keep the server from starting, and reaches nothing. */
  function closedFor(index: number, error: unknown): SandboxRules {
    const block = plan.block(index);
    options.log.error(
      { sandbox: block.address, reason: messageOf(error) },
      'a sandbox is without network: no name server',
    );
    return rulesFor(block, { blockAll: true }, undefined);
  }

  return {
    async open(running, watcher) {
      watching = watcher;
      const rules: SandboxRules[] = [];
      for (const { index, policy } of running) {
        if (index < plan.size) {
          adopt(index);
          if (policy === undefined) continue;
          const own = await prepareRules(index, policy).catch((error: unknown) => closedFor(index, error));
          if (own) rules.push(own);
          inForce.set(index, policy);
        } else
          options.log.warn(
            { index },
            `a sandbox loses its network: its block is outside of network.cidr ${plan.cidr} now`,
          );
      }
      clearRunDir(options.runDir);
      await takeAwayLeftovers(plan, inUse);
      await firewall.install(createNft(watcher), rules);
      enableForwarding(options.log);
      const warning = await forwardDropWarning(plan.interfacePrefix);
      if (warning !== undefined) options.log.warn({}, warning);
      stopWatch = watchFirewall(firewall, options.log);
      stock.start(watcher);
    },
    async take(signal) {
      const namespaces = await stock.take(signal);
      inUse.add(namespaces.index);
      return namespaces;
    },
    async release({ index }) {
      if (!inUse.delete(index)) return;
      const namespaces = withPaths(plan.block(index), options.runDir);
      unpin(namespaces);
      await inOrder(String(index), async () => {
        inForce.delete(index);
        await forwarder.serve(namespaces, []);
        // Name and address come back with another sandbox, which must not inherit this.
        await firewall.setRules(namespaces.hostInterface, undefined, () => false);
      });
      blocks.free(index);
      stock.blocksFreed();
    },
    adopt,
    addressOf: ({ index }) => plan.block(index).address,
    setPolicy: ({ index }, policy) =>
      inOrder(String(index), async () => {
        if (!inUse.has(index)) throw new DarkroomError('internal', `the address block ${index} is not in use`);
        // What names have led to stays open when nothing changes, also what an earlier server had opened.
        const before = inForce.get(index);
        if (before && keyOf(before) === keyOf(policy)) return;
        const isSameNames = String(before?.allowDomains) === String(policy.allowDomains);
        inForce.delete(index);
        const block = plan.block(index);
        const rules = await prepareRules(index, policy);
        const keeps = isSameNames ? () => true : (name: string) => forwarder.allows(block, name);
        await firewall.setRules(block.hostInterface, rules, keeps);
        inForce.set(index, policy);
      }),
    async cutOff({ index }) {
      if (!watching) throw new DarkroomError('unavailable', 'the network pool is not open');
      await deleteLink(watching, plan.block(index).hostInterface);
    },
    resolvConf: () => resolver.resolvConf,
    async close() {
      if (closed) return;
      closed = true;
      await stopWatch();
      await stock.close();
      forwarder.close();
      if (inUse.size === 0) await firewall.remove();
    },
  };
}

async function takeAwayLeftovers(plan: AddressPlan, inUse: ReadonlySet<number>): Promise<void> {
  const leftovers = [...existingInterfaces(plan)].filter(([index]) => !inUse.has(index));
  await deleteInterfaces(leftovers.map(([, name]) => name));
}
