import { z } from 'zod';
import { run } from '../../platform/process.ts';
import { type FirewallOptions, firewallRules, tableName } from './firewall-rules.ts';

// nft takes milliseconds; a kernel that unregisters many interfaces at once holds it up for longer.
const NFT_TIMEOUT_MS = 20_000;

export interface Firewall {
  /** Puts the table in place, or in place of an older one; who was blocked there and is still in use stays so, as does who is named. */
  install(inUse: ReadonlySet<string>, alsoBlocked?: readonly string[]): Promise<void>;
  /** Whether the table is there: `flush ruleset` (a restart of the host's nftables service) takes it away. */
  isInstalled(): Promise<boolean>;
  setBlocked(hostInterface: string, blocked: boolean): Promise<void>;
  remove(): Promise<void>;
}

const setListing = z.object({
  nftables: z.array(z.object({ set: z.object({ elem: z.array(z.string()).optional() }).optional() })),
});

export function createFirewall(options: Omit<FirewallOptions, 'blocked'>): Firewall {
  const table = ['inet', tableName(options.tag)];
  const blocked = new Set<string>();
  let last: Promise<unknown> = Promise.resolve();

  // One change at a time: a replaced table must hold every change that was made before.
  function inTurn(change: () => Promise<void>): Promise<void> {
    const turn = last.then(change, change);
    last = turn;
    return turn;
  }

  async function readBlocked(): Promise<string[]> {
    const listing = await nft(['-j', 'list', 'set', ...table, 'blocked'], { okCodes: [0, 1] });
    if (listing.exitCode !== 0) return [];
    return setListing.parse(JSON.parse(listing.stdout)).nftables.flatMap((item) => item.set?.elem ?? []);
  }

  const replaceTable = () => nft(['-f', '-'], { input: firewallRules({ ...options, blocked: [...blocked] }) });

  async function changeBlocked(hostInterface: string, block: boolean) {
    if (blocked.has(hostInterface) === block) return;
    if (block) blocked.add(hostInterface);
    else blocked.delete(hostInterface);
    const element = [block ? 'add' : 'delete', 'element', ...table, 'blocked', `{ "${hostInterface}" }`];
    const change = await nft(element, { okCodes: [0, 1] });
    // The table or the element is gone, because someone else flushed it.
    if (change.exitCode !== 0) await replaceTable();
  }

  return {
    install: (inUse, alsoBlocked = []) =>
      inTurn(async () => {
        for (const name of [...alsoBlocked, ...(await readBlocked())]) blocked.add(name);
        for (const name of blocked) if (!inUse.has(name)) blocked.delete(name);
        await replaceTable();
      }),
    async isInstalled() {
      const listing = await nft(['list', 'chain', ...table, 'destination'], { okCodes: [0, 1] });
      return listing.exitCode === 0 && listing.stdout.includes('@private');
    },
    setBlocked: (hostInterface, block) => inTurn(() => changeBlocked(hostInterface, block)),
    remove: () =>
      inTurn(async () => {
        await nft(['-f', '-'], { input: `add table ${table.join(' ')}\ndelete table ${table.join(' ')}\n` });
        blocked.clear();
      }),
  };
}

function nft(args: readonly string[], options: { input?: string; okCodes?: readonly number[] }) {
  return run('nft', args, { timeoutMs: NFT_TIMEOUT_MS, ...options });
}
