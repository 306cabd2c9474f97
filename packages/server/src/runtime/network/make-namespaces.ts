import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DarkroomError, errnoOf, messageOf } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { MNT_DETACH, MS_BIND, mount, unmount } from '../../platform/libc.ts';
import { spawnPiped } from '../../platform/piped-process.ts';
import type { AddressBlock } from './address-plan.ts';
import { startHolders } from './namespace-holders.ts';
import { namespaceOwners } from './namespace-owners.ts';

/** A user namespace, a network namespace that it owns, and the way out of it. */
export interface ReadyNamespaces extends AddressBlock {
  /** Files that a container runtime joins the namespaces by. */
  userPath: string;
  netPath: string;
}

export interface NamespaceSettings {
  /** Where the files are that namespaces are joined by. */
  runDir: string;
  idBase: number;
  idCount: number;
}

export interface MakeOptions extends NamespaceSettings {
  /** Somebody waits for them; otherwise the work gives way to everything else. */
  urgent: boolean;
  /** Tells when the tools have ended. */
  watcher: ExitWatcher;
}

const IP_TIMEOUT_MS = 20_000;

/**
 * Makes several at once: one shell with a holder process for each, one `ip` for all host ends. What could not be made is
 * taken away again; only when nothing could be made it raises, with what the tools said.
 */
export async function makeNamespaces(
  blocks: readonly AddressBlock[],
  options: MakeOptions,
): Promise<ReadyNamespaces[]> {
  const holders = await startHolders(blocks, { ...options, ownerOf: namespaceOwners(options) });
  const pinned = new Map<AddressBlock, ReadyNamespaces>();
  const keep = new Set<ReadyNamespaces>();
  let complaint = '';
  try {
    for (const [block, pid] of holders.pids) {
      const namespaces = withPaths(block, options.runDir);
      pinned.set(block, namespaces);
      mapIds(pid, options);
      pin(pid, namespaces);
    }
    const links = await makeLinks(holders.pids, options.watcher);
    complaint = links.complaint;
    const complete = await holders.configure();
    for (const [block, namespaces] of pinned) {
      if (complete.has(block) && links.made.has(block)) keep.add(namespaces);
    }
  } catch (cause) {
    throw new DarkroomError('unavailable', `make network namespaces: ${messageOf(cause)}`, { cause, retryable: true });
  } finally {
    await holders.abandon();
    for (const namespaces of pinned.values()) if (!keep.has(namespaces)) unpin(namespaces);
  }
  if (keep.size > 0) return [...keep];
  throw new DarkroomError(
    'unavailable',
    `make network namespaces: ${[holders.complaints(), complaint].filter(Boolean).join('; ')}`,
    {
      hint: 'Run `darkroom doctor`; user.max_user_namespaces and user.max_net_namespaces limit them.',
      retryable: true,
    },
  );
}

export function withPaths(block: AddressBlock, runDir: string): ReadyNamespaces {
  return {
    ...block,
    userPath: join(runDir, `${block.index.toString(16)}.user`),
    netPath: join(runDir, `${block.index.toString(16)}.net`),
  };
}

/** Once nothing runs in them the kernel takes them away, and the veth pair with them, by itself. Idempotent. */
export function unpin(namespaces: ReadyNamespaces): void {
  for (const path of [namespaces.netPath, namespaces.userPath]) {
    try {
      unmount(path, MNT_DETACH);
    } catch (error) {
      // EINVAL: not a mount point, because an earlier server made it in its own mount namespace.
      if (errnoOf(error) !== 'EINVAL' && errnoOf(error) !== 'ENOENT') throw error;
    }
    rmSync(path, { force: true });
  }
}

function mapIds(pid: number, { idBase, idCount }: NamespaceSettings): void {
  // The last one so that nobody inside can: whoever is first may write it, with no right at all.
  for (const file of ['uid_map', 'gid_map', 'projid_map']) {
    try {
      writeFileSync(`/proc/${pid}/${file}`, `0 ${idBase} ${idCount}`);
    } catch (cause) {
      const what = `map ids ${idBase} to ${idBase + idCount} (${file}): ${messageOf(cause)}`;
      throw new DarkroomError('unavailable', what, { cause });
    }
  }
}

function pin(pid: number, namespaces: ReadyNamespaces): void {
  for (const [kind, path] of [
    ['user', namespaces.userPath],
    ['net', namespaces.netPath],
  ] as const) {
    writeFileSync(path, '', { mode: 0o600 });
    mount(`/proc/${pid}/ns/${kind}`, path, null, MS_BIND, null);
  }
}

/** The host's ends. `ip -batch` goes on after a failed line and names it. */
async function makeLinks(
  pids: ReadonlyMap<AddressBlock, number>,
  watcher: ExitWatcher,
): Promise<{ made: Set<AddressBlock>; complaint: string }> {
  const add = [...pids].map(([block, pid]) => `link add ${block.hostInterface} type veth peer name eth0 netns ${pid}`);
  const added = await ipBatch(watcher, add);
  const made = new Set([...pids.keys()].filter((_, position) => !added.failed.has(position)));
  for (const block of made) hardenHostEnd(block.hostInterface);
  const linked = [...made];
  const lines = linked.flatMap(({ hostInterface, gateway, address }) => [
    `addr add ${gateway}/32 dev ${hostInterface}`,
    `link set ${hostInterface} up`,
    // A route for this one address: nothing else may come in by this interface (see anti_spoof). Not as a peer of the
    // gateway's address: with arp_ignore the kernel would then not answer for the gateway.
    `route add ${address}/32 dev ${hostInterface} src ${gateway}`,
  ]);
  const raised = await ipBatch(watcher, lines);
  for (const line of raised.failed) {
    const block = linked[Math.floor((line * linked.length) / lines.length)];
    if (block) made.delete(block);
  }
  return { made, complaint: added.complaint || raised.complaint };
}

function hardenHostEnd(hostInterface: string): void {
  // A kernel that was booted without IPv6 has no such switch.
  const ipv6 = '/proc/sys/net/ipv6/conf';
  if (existsSync(ipv6)) writeFileSync(`${ipv6}/${hostInterface}/disable_ipv6`, '1');
  // Answer ARP only for the gateway address, not for every address of the host.
  writeFileSync(`/proc/sys/net/ipv4/conf/${hostInterface}/arp_ignore`, '1');
}

async function ipBatch(
  watcher: ExitWatcher,
  lines: readonly string[],
): Promise<{ failed: Set<number>; complaint: string }> {
  if (lines.length === 0) return { failed: new Set(), complaint: '' };
  const ip = spawnPiped(watcher, 'ip', ['-force', '-batch', '-']);
  let stderr = '';
  ip.stdout.resume();
  ip.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  ip.stdin.end(lines.map((line) => `${line}\n`).join(''));
  const timeout = setTimeout(() => {
    if (!ip.hasEnded()) process.kill(ip.pid, 'SIGKILL');
  }, IP_TIMEOUT_MS);
  const { signal } = await ip.closed.finally(() => clearTimeout(timeout));
  if (signal !== undefined) {
    throw new DarkroomError('unavailable', `ip was ended by signal ${signal} (limit ${IP_TIMEOUT_MS} ms)`, {
      retryable: true,
    });
  }
  const failed = [...stderr.matchAll(/Command failed -:(\d+)/g)].map((match) => Number(match[1]) - 1);
  return { failed: new Set(failed), complaint: stderr.trim().slice(-1000) };
}
