import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { errnoOf } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { spawnPiped } from '../../platform/piped-process.ts';
import type { AddressBlock } from './address-plan.ts';
import type { OwnerOf } from './namespace-owners.ts';

/** Processes that each sit in a new user and network namespace, until they are told to set up its addresses and end. */
export interface NamespaceHolders {
  /** Host pids by address block, once all have their namespaces (or ended without). */
  readonly pids: ReadonlyMap<AddressBlock, number>;
  /** Lets them set up `eth0`, which must be there by now, and end. Resolves to the blocks that are complete. */
  configure(): Promise<ReadonlySet<AddressBlock>>;
  /** Ends them without that. Idempotent. */
  abandon(): Promise<void>;
  /** What the tools complained about. */
  complaints(): string;
}

// The whole batch takes well under a second; a machine that swaps takes longer.
const HOLDERS_TIMEOUT_MS = 20_000;

/**
 * Each holder waits for the end of its standard input, a pipe that the server holds: it goes on when the server says so and
 * it cannot outlive a server that is killed. `--keep-caps` gives it the rights over its network although no user is mapped
 * at the time of exec. IPv6 is turned off before an interface exists that could get a link-local address.
 *
 * The kernel counts what a sandbox has of some things (inotify instances, message queues, pending signals) against whoever made its
 * user namespace, too: were that root each time, one sandbox could use up what all others and the host's own services may have.
 * So each is made under an id of its own, which nothing else runs as. And no namespace can be made inside but those of a start.
 */
const SCRIPT = `
exec 3<&0
hold='ipv6=/proc/sys/net/ipv6/conf/all/disable_ipv6
[ ! -e $ipv6 ] || echo 1 >$ipv6 || exit 1
for kind in user net time; do
  limit=/proc/sys/user/max_\${kind}_namespaces
  [ ! -e $limit ] || echo 0 >$limit || exit 1
done
echo "made $0 $$"
read -r _
exec ip -batch - <<END
link set lo up
addr add $1/30 dev eth0
link set eth0 up
route add default via $2
END'
while [ $# -gt 0 ]; do
  (setpriv --reuid "$4" --inh-caps +sys_admin --ambient-caps +sys_admin \\
    unshare --user --net --keep-caps sh -c "$hold" "$1" "$2" "$3" <&3 && echo "done $1" || echo "failed $1") &
  shift 4
done
exec 3<&-
wait
`;

export async function startHolders(
  blocks: readonly AddressBlock[],
  options: { urgent: boolean; watcher: ExitWatcher; ownerOf: OwnerOf },
): Promise<NamespaceHolders> {
  const byIndex = new Map(blocks.map((block) => [String(block.index), block]));
  const args = blocks.flatMap((block) => [
    String(block.index),
    block.address,
    block.gateway,
    String(options.ownerOf(block.index)),
  ]);
  const shell = spawnPiped(options.watcher, 'sh', ['-c', SCRIPT, 'darkroom-namespaces', ...args]);
  if (!options.urgent) lowerPriority(shell.pid);
  const pids = new Map<AddressBlock, number>();
  const complete = new Set<AddressBlock>();
  const ended = new Set<AddressBlock>();
  const allMade = Promise.withResolvers<void>();
  let stderr = '';

  const closed = shell.closed.then(() => undefined);
  closed.then(allMade.resolve, allMade.reject);
  shell.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (stderr.length < 10_000) stderr += text;
  });
  createInterface(shell.stdout).on('line', (line) => {
    const [event, index = '', pid] = line.split(' ');
    const block = byIndex.get(index);
    if (block === undefined) return;
    if (event === 'made') pids.set(block, Number(pid));
    if (event === 'done') complete.add(block);
    if (event !== 'made') ended.add(block);
    if (new Set([...pids.keys(), ...ended]).size === blocks.length) allMade.resolve();
  });
  const timeout = setTimeout(killGroup, HOLDERS_TIMEOUT_MS);
  const over = closed.finally(() => clearTimeout(timeout));
  over.catch(() => {});

  /** It leads a process group of its own: a batch that hangs is ended with all its holders. */
  function killGroup() {
    stderr += `ended after ${HOLDERS_TIMEOUT_MS} ms\n`;
    try {
      process.kill(-shell.pid, 'SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }

  await allMade.promise;
  return {
    pids,
    async configure() {
      shell.stdin.end();
      await over;
      return complete;
    },
    async abandon() {
      // At the end of the input they find no eth0, or one that nobody will use, and end.
      shell.stdin.end();
      await over;
    },
    complaints: () => stderr.trim().slice(-1000),
  };
}

/** What it starts from now on inherits this. */
function lowerPriority(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch (error) {
    // It may have ended already.
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_SYSTEM_ERROR')) throw error;
  }
}
