import { z } from 'zod';
import { run } from '../../platform/process.ts';

const NFT_TIMEOUT_MS = 10_000;

const chainListing = z.object({
  nftables: z.array(
    z.object({
      chain: z
        .object({
          family: z.string(),
          table: z.string(),
          name: z.string(),
          hook: z.string().optional(),
          policy: z.string().optional(),
        })
        .optional(),
    }),
  ),
});

/** Chains of other programs that drop forwarded packets unless they know them, as `family table chain`. */
export async function foreignForwardDrops(): Promise<string[]> {
  const listing = await run('nft', ['-j', 'list', 'chains'], { timeoutMs: NFT_TIMEOUT_MS });
  return chainListing
    .parse(JSON.parse(listing.stdout))
    .nftables.flatMap((item) => (item.chain ? [item.chain] : []))
    .filter((chain) => chain.hook === 'forward' && chain.policy === 'drop' && !chain.table.startsWith('darkroom_'))
    .map((chain) => `${chain.family} ${chain.table} ${chain.name}`);
}

/**
 * nftables has no verdict that overrules another table's drop, so sandboxes have no network where the host's firewall (Docker sets
 * this policy too) drops what it does not know. What to tell the person who runs the host; undefined when all is well.
 */
export async function forwardDropWarning(interfacePrefix: string): Promise<string | undefined> {
  const chains = await foreignForwardDrops();
  if (chains.length === 0) return undefined;
  return (
    `another firewall drops forwarded packets (${chains.join(', ')}), so sandboxes may have no network; ` +
    `let it accept interfaces named ${interfacePrefix}*, in both directions ` +
    `(with Docker: iptables -I DOCKER-USER -i ${interfacePrefix}+ -j ACCEPT, and the same with -o)`
  );
}
