/** A server process of the tests: holds network pools and does with them what its parent says, one message a call. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DarkroomError, messageOf } from '../../../platform/errors.ts';
import { createExitWatcher } from '../../../platform/exit-watcher.ts';
import { forwardDropWarning } from '../host-firewall.ts';
import { createNetworkPool, type NetworkPool } from '../network-pool.ts';

const policy = z.object({
  blockAll: z.boolean(),
  allowRanges: z.array(z.string()).optional(),
  allowDomains: z.array(z.string()).optional(),
  bandwidth: z.object({ inMbps: z.number().optional(), outMbps: z.number().optional() }).optional(),
});
const block = z.object({ index: z.number(), policy: policy.optional() });
const callSchema = z.discriminatedUnion('do', [
  z.object({
    do: z.literal('open'),
    id: z.number(),
    pool: z.string(),
    directory: z.string(),
    inUse: z.array(block),
    settings: z.object({
      cidr: z.string(),
      ready: z.number(),
      allowPrivate: z.array(z.string()),
      dns: z.array(z.string()),
      idCount: z.number().default(65_536),
    }),
  }),
  z.object({ do: z.literal('take'), id: z.number(), pool: z.string(), count: z.number() }),
  z.object({ do: z.literal('takeAndAbort'), id: z.number(), pool: z.string(), count: z.number() }),
  z.object({ do: z.literal('forwardWarning'), id: z.number(), prefix: z.string() }),
  z.object({ do: z.literal('release'), id: z.number(), pool: z.string(), namespaces: z.array(block) }),
  z.object({ do: z.literal('setPolicy'), id: z.number(), pool: z.string(), namespaces: block, policy }),
  z.object({ do: z.literal('close'), id: z.number(), pool: z.string() }),
]);
type Call = z.infer<typeof callSchema>;

const pools = new Map<string, NetworkPool>();
const watcher = createExitWatcher();
const log = { info() {}, warn() {}, error: (details: object, message: string) => console.error(message, details) };

function pool(name: string): NetworkPool {
  const found = pools.get(name);
  if (found === undefined) throw new Error(`no pool ${name} is open`);
  return found;
}

async function handle(call: Call): Promise<unknown> {
  switch (call.do) {
    case 'open': {
      const runDir = join(call.directory, call.pool);
      mkdirSync(runDir, { recursive: true });
      const opened = createNetworkPool({
        ...call.settings,
        tag: call.pool,
        runDir,
        idBase: 1_000_000_000,
        log,
      });
      pools.set(call.pool, opened);
      return opened.open(call.inUse, watcher);
    }
    case 'take':
      return Promise.all(Array.from({ length: call.count }, () => pool(call.pool).take()));
    case 'takeAndAbort': {
      const controller = new AbortController();
      const takes = Array.from({ length: call.count }, () => pool(call.pool).take(controller.signal));
      controller.abort();
      return (await Promise.allSettled(takes)).map((take) => take.status);
    }
    case 'forwardWarning':
      return forwardDropWarning(call.prefix);
    case 'release':
      return Promise.all(call.namespaces.map((namespaces) => pool(call.pool).release(namespaces)));
    case 'setPolicy':
      return pool(call.pool).setPolicy(call.namespaces, call.policy);
    case 'close':
      return pool(call.pool).close();
  }
}

process.on('message', async (message: unknown) => {
  const call = callSchema.parse(message);
  try {
    process.send?.({ id: call.id, result: (await handle(call)) ?? null });
  } catch (error) {
    const code = error instanceof DarkroomError ? error.code : 'internal';
    process.send?.({ id: call.id, error: { code, message: messageOf(error) } });
  }
});
process.on('disconnect', () => process.exit(0));
