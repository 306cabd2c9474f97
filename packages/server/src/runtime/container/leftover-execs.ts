import { readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import type { ContainerHost } from './container-host.ts';
import { engineOf } from './engine.ts';
import { type Layout, runPaths } from './layout.ts';
import { childrenOf, killTree } from './process-tree.ts';

/** A `crun exec` in the middle of its work gets this long to have its child. */
const APPEAR_TIMEOUT_MS = 10_000;
const FILE = /^exec-\d+-\d+\.(json|log|pid)$/;

/**
 * Ends the commands that an earlier server was killed over: nobody reads what they write, or would ever end them. Those whose
 * output goes into a file or a named pipe were meant to outlive it. Call it before anything else is started in the containers.
 */
export async function endLeftoverExecs(host: ContainerHost, containerIds: readonly string[]): Promise<void> {
  const ends = [...findExecs(host.layout, containerIds)].map(async ([pid, { id, file }]) => {
    try {
      if (!wroteToServer(pid)) return;
      await engineOf(host.engines, id).endLeftover(host, id, { pid, file });
      host.log.warn({ sandbox: id }, 'a command of an earlier server was ended');
    } catch (error) {
      host.log.error({ sandbox: id, error: messageOf(error) }, 'a command of an earlier server could not be ended');
    }
  });
  await Promise.all(ends);
  const inUse = new Set([...findExecs(host.layout, containerIds).values()].map(({ file }) => file));
  for (const id of containerIds) forgetFiles(host.layout, id, inUse);
}

interface FoundExec {
  id: string;
  /** What describes its process. */
  file: string;
}

/** Every exec in these containers, by its pid. A process of a sandbox may call itself anything, but is never root here. */
function findExecs(layout: Layout, containerIds: readonly string[]): Map<number, FoundExec> {
  const prefixes = containerIds.map((id) => ({ id, prefix: join(runPaths(layout, id).dir, 'exec-') }));
  const found = new Map<number, FoundExec>();
  if (prefixes.length === 0) return found;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const words = commandLine(name);
    const at = words.indexOf('--process');
    const file = (at === -1 ? undefined : words[at + 1]) ?? '';
    const owner = prefixes.find(({ prefix }) => file.startsWith(prefix));
    if (owner !== undefined && statSync(`/proc/${name}`, { throwIfNoEntry: false })?.uid === 0) {
      found.set(Number(name), { id: owner.id, file });
    }
  }
  return found;
}

/** Of crun. */
export async function endLeftoverExec(host: ContainerHost, id: string, { pid }: { pid: number }): Promise<void> {
  const deadline = performance.now() + APPEAR_TIMEOUT_MS;
  while (performance.now() < deadline && findExecs(host.layout, [id]).has(pid)) {
    const [tini] = childrenOf(pid);
    // crun ends after it, and has its description until then.
    if (tini !== undefined) await killTree(host.watcher, tini, pid);
    await sleep(1);
  }
}

function wroteToServer(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/1`).startsWith('pipe:[');
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function forgetFiles(layout: Layout, id: string, inUse: ReadonlySet<string>): void {
  const { dir } = runPaths(layout, id);
  try {
    for (const name of readdirSync(dir)) {
      const description = join(dir, name.replace(/\.(log|pid)$/, '.json'));
      if (FILE.test(name) && !inUse.has(description)) rmSync(join(dir, name), { force: true });
    }
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

const isGone = (error: unknown) => errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH';
