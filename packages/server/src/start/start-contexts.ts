import { join } from 'node:path';
import { boundedContextStore } from '../builds/contexts/bounded-context-store.ts';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import { createLocalContextStore } from '../builds/contexts/local-context-store.ts';
import { roomyContextStore } from '../builds/contexts/roomy-context-store.ts';
import { createS3ContextStore } from '../builds/contexts/s3-context-store.ts';
import type { DiskGuard } from '../platform/disk-guard.ts';
import type { Ground } from './ground.ts';

const SWEEP_MS = 60 * 60_000;
const DAY_MS = 24 * 60 * 60_000;

/**
 * Where uploads of builds are kept: beside the layers, where parts become one file without being copied, or in the store that is
 * configured. Clients talk to us either way: few stores can give out credentials for a part of a bucket.
 */
export async function startContexts(
  { config, log, closers }: Ground,
  { poolRoot, disk }: { poolRoot: string; disk: Pick<DiskGuard, 'assertRoom'> },
): Promise<ContextStore> {
  const { maxContextBytes, maxContextBytesPerOrganization, unusedContextDays } = config.builds;
  const store = await openContextStore(config, poolRoot);
  const isLocal = config.objectStore.endpoint === undefined;
  const contexts = boundedContextStore(isLocal ? roomyContextStore(store, disk) : store, {
    maxBytes: maxContextBytes,
    maxTotalBytes: maxContextBytesPerOrganization,
  });
  const sweep = () => {
    const now = Date.now();
    contexts.sweep(new Date(now), new Date(now - unusedContextDays * DAY_MS)).then(
      (swept) => log.debug({ swept }, 'old uploads were swept'),
      (error: unknown) => log.warn({ err: error }, 'old uploads could not be swept'),
    );
  };
  sweep();
  const timer = setInterval(sweep, SWEEP_MS);
  closers.add('sweep of uploads', async () => clearInterval(timer));
  return contexts;
}

/** Where they lie, without bounds and sweeps. */
export async function openContextStore({ objectStore }: Ground['config'], poolRoot: string): Promise<ContextStore> {
  const { endpoint, ...external } = objectStore;
  return endpoint === undefined
    ? await createLocalContextStore(join(poolRoot, 'contexts'))
    : await createS3ContextStore({ endpoint, ...external });
}
