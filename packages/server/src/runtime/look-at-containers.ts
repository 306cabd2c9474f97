import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../platform/errors.ts';
import { gvisorState } from './container/gvisor/gvisor-state.ts';
import { isContainerId, layoutOf } from './container/layout.ts';
import { processStat } from './container/live-container.ts';
import { removeSandboxDir } from './container/sandbox-dir.ts';
import type { ContainerStatus } from './types.ts';

const statusSchema = z.object({ pid: z.int().positive(), 'process-start-time': z.int() });

/** What an ended server left running, for who changes nothing of it. */
export interface LookedAt {
  list(): Promise<ContainerStatus[]>;
  /** The files of one that does not run. */
  remove(id: string): Promise<void>;
}

/** Where no server runs: by what engines have written down, and whether those processes are still there. */
export function lookAtContainers(poolRoot: string, runDir: string): LookedAt {
  const layout = layoutOf(poolRoot, runDir);
  const gvisor = gvisorState(layout.gvisorRoot);
  const crunStatus = (id: string) => {
    try {
      const text = readFileSync(join(layout.crunRoot, id, 'status'), 'utf8');
      const { pid, 'process-start-time': startTime } = statusSchema.parse(JSON.parse(text));
      return { pid, startTime };
    } catch {
      return undefined;
    }
  };
  const list = async () => {
    const kept = namesIn(layout.sandboxesDir);
    const known = new Set([...namesIn(layout.crunRoot), ...gvisor.list(), ...kept].filter(isContainerId));
    return [...known].map((id): ContainerStatus => {
      const noted = gvisor.status(id) ?? crunStatus(id);
      const running = noted !== undefined && processStat(noted.pid)?.startTime === noted.startTime;
      return { id, running, paused: false, pid: running ? noted.pid : undefined };
    });
  };
  return { list, remove: (id) => removeSandboxDir(layout, id) };
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
