import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { instanceTag } from '../runtime/instance-tag.ts';
import { createNetworkPool } from '../runtime/network/network-pool.ts';
import type { prepareCgroups } from '../runtime/prepare-cgroups.ts';
import { createRuntime } from '../runtime/runtime.ts';
import type { SandboxRuntime } from '../runtime/types.ts';

export const TEST_ID_BASE = 1_000_000_000;
export const TEST_ID_COUNT = 1_000_000_000;

export interface TestRuntimeOptions {
  stateDir: string;
  runDir: string;
  poolRoot: string;
  dns: readonly string[] | undefined;
  gvisor: string | undefined;
  cgroups: Awaited<ReturnType<typeof prepareCgroups>>;
  log: Logger;
}

/** The runtime of a test's server, with networks of its own. */
export async function createTestRuntime(options: TestRuntimeOptions): Promise<SandboxRuntime> {
  const { stateDir, runDir, poolRoot, dns, gvisor, cgroups, log } = options;
  const ids = { idBase: TEST_ID_BASE, idCount: TEST_ID_COUNT };
  const network = createNetworkPool({
    tag: instanceTag(stateDir),
    runDir: join(runDir, 'network'),
    cidr: `10.${200 + (process.pid % 50)}.${process.pid % 256}.0/24`,
    ...ids,
    ready: 4,
    allowPrivate: [],
    dns,
    log,
  });
  const cacheDir = join(stateDir, 'cache');
  await mkdir(cacheDir, { recursive: true });
  return createRuntime({
    poolRoot,
    runDir,
    cacheDir,
    settings: { crun: 'crun', gvisor: gvisor ?? 'off', ...ids, startConcurrency: 4, readyDisks: 2 },
    cgroups,
    network,
    log,
  });
}
