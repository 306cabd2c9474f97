import { z } from 'zod';
import { DarkroomError } from '../../platform/errors.ts';
import { changeLines, closeLines, type OpenAddress, openLines } from './firewall-elements.ts';
import { type FirewallOptions, firewallRules, tableName } from './firewall-rules.ts';
import { type Nft, nftTransaction } from './nft.ts';
import { createOpenAddresses, type OpeningRequest } from './open-addresses.ts';
import type { SandboxRules } from './sandbox-rules.ts';

export interface Firewall {
  /**
   * Puts the table in place, or in place of an older one. These sandboxes are all that have a policy of their own; what
   * their names had led to under an earlier server stays open to them.
   */
  install(nft: Nft, sandboxes: readonly SandboxRules[]): Promise<void>;
  /** Puts it back if something else on the host (`flush ruleset`) took it away; whether it had to. */
  ensure(): Promise<boolean>;
  /**
   * The rules of one sandbox in place of those it had; undefined takes them all away. `keeps` says which of the names that have
   * led somewhere still may (`UNKNOWN_NAME` stands for those of an earlier server). Costs nothing for a sandbox that has none and gets none.
   */
  setRules(hostInterface: string, rules: SandboxRules | undefined, keeps: (name: string) => boolean): Promise<void>;
  /** Opens addresses to a sandbox; resolves when they are reachable. Those asked for at once are opened at once. */
  open(request: OpenRequest): Promise<void>;
  remove(): Promise<void>;
}

export interface OpenRequest extends OpeningRequest {
  /** Asked when it is done: the sandbox's policy may have changed while this waited its turn. */
  isWanted(): boolean;
}

interface Waiting {
  request: OpenRequest;
  resolve(): void;
  reject(error: unknown): void;
}

const listing = z.object({
  nftables: z.array(
    z.object({
      set: z
        .object({
          elem: z
            .array(
              z.object({
                elem: z.object({ val: z.object({ concat: z.tuple([z.string(), z.string()]) }), expires: z.number() }),
              }),
            )
            .optional(),
        })
        .optional(),
    }),
  ),
});

export function createFirewall(options: Omit<FirewallOptions, 'sandboxes' | 'open'>): Firewall {
  const table = `inet ${tableName(options.tag)}`;
  const sandboxes = new Map<string, SandboxRules>();
  const opened = createOpenAddresses();
  let nft: Nft = () => Promise.reject(new DarkroomError('unavailable', 'the network is not open'));
  let last: Promise<unknown> = Promise.resolve();
  const waiting: Waiting[] = [];
  // The kernel did not take the last change: the next one brings it all.
  let isBehind = false;

  // One change at a time: a replaced table must hold every change that was made before.
  function inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = last.then(change, change);
    last = turn.catch(() => undefined);
    return turn;
  }

  async function replaceTable(): Promise<void> {
    isBehind = true;
    await nftTransaction(nft, firewallRules({ ...options, sandboxes: [...sandboxes.values()], open: opened.list() }));
    isBehind = false;
  }

  /** The table or an element is gone when someone else flushed it. */
  async function applyOrReplace(lines: readonly string[]): Promise<void> {
    if (lines.length === 0 && !isBehind) return;
    const change = isBehind ? { ok: false } : await nft(['-f', '-'], `${lines.join('\n')}\n`);
    if (!change.ok) await replaceTable();
  }

  async function readOpen(): Promise<OpenAddress[]> {
    const { ok, stdout } = await nft(['-j', 'list', 'set', ...table.split(' '), 'allowed_names']);
    if (!ok) return [];
    const listed = listing.safeParse(JSON.parse(stdout));
    // Not as we write it: what is forgotten is opened again by the next lookup.
    if (!listed.success) return [];
    return listed.data.nftables.flatMap(({ set }) =>
      (set?.elem ?? []).map(({ elem: { val, expires } }) => {
        const [from, to] = val.concat;
        return { from, to, seconds: Math.max(1, expires) };
      }),
    );
  }

  async function change(hostInterface: string, rules: SandboxRules | undefined, keeps: (name: string) => boolean) {
    const before = sandboxes.get(hostInterface);
    if (rules) sandboxes.set(hostInterface, rules);
    else sandboxes.delete(hostInterface);
    const from = before?.address ?? rules?.address;
    const closed =
      from === undefined ? [] : opened.closeAllBut(from, rules?.resolverPort === undefined ? () => false : keeps);
    await applyOrReplace([...changeLines(table, before, rules), ...closeLines(table, closed)]);
    // A packet under way may have renewed one of them in the same moment; from now on none can.
    await applyOrReplace(closeLines(table, closed));
  }

  async function openWaiting(): Promise<void> {
    const all = waiting.splice(0);
    const added: { one: Waiting; addresses: OpenAddress[] }[] = [];
    for (const one of all) {
      try {
        added.push({ one, addresses: one.request.isWanted() ? opened.add(one.request) : [] });
      } catch (error) {
        one.reject(error);
      }
    }
    const addresses = added.flatMap((entry) => entry.addresses);
    try {
      await applyOrReplace(openLines(table, addresses));
      for (const { one } of added) one.resolve();
    } catch (error) {
      opened.forget(addresses);
      for (const { one } of added) one.reject(error);
    }
  }

  return {
    install: (through, wanted) =>
      inTurn(async () => {
        nft = through;
        sandboxes.clear();
        for (const rules of wanted) sandboxes.set(rules.hostInterface, rules);
        const named = new Set(wanted.filter((rules) => rules.resolverPort !== undefined).map(({ address }) => address));
        opened.restore((await readOpen()).filter(({ from }) => named.has(from)));
        await replaceTable();
      }),
    ensure: () =>
      inTurn(async () => {
        const { ok, stdout } = await nft(['list', 'chain', ...table.split(' '), 'destination']);
        if (ok && !isBehind && stdout.includes('@private')) return false;
        await replaceTable();
        return true;
      }),
    async setRules(hostInterface, rules, keeps) {
      if (rules === undefined && !sandboxes.has(hostInterface)) return;
      await inTurn(() => change(hostInterface, rules, keeps));
    },
    open(request) {
      return new Promise((resolve, reject) => {
        // Those that come before its turn go with the first one.
        if (waiting.push({ request, resolve, reject }) === 1) inTurn(openWaiting).catch(reject);
      });
    },
    remove: () =>
      inTurn(async () => {
        await nftTransaction(nft, `add table ${table}\ndelete table ${table}\n`);
        sandboxes.clear();
        opened.clear();
      }),
  };
}
