import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { run } from '../platform/process.ts';
import { PEER } from '../runtime/network/testing/lab.ts';
import { type NameServer, startNameServer } from '../runtime/network/testing/lab-traffic.ts';

/**
 * A network namespace that this machine reaches by a link of its own, with addresses that are public (RFC 5737) and lead nowhere
 * else: what sandboxes of a test may talk to. It goes when this process ends, however it ends.
 */
export interface OutsideWorld {
  /** Each answers on TCP port `port` with JSON that has the address it was asked from. */
  readonly hosts: readonly [string, string];
  readonly port: number;
  /** Its address; it answers on port 53. */
  readonly nameServer: string;
  readonly names: NameServer;
  close(): Promise<void>;
}

const PORT = 8080;
const COMMAND_TIMEOUT_MS = 10_000;

export async function openOutsideWorld(): Promise<OutsideWorld> {
  const children: ChildProcess[] = [];
  // Sixteen may be there at the same time, of sixteen addresses each.
  const slot = process.pid % 16;
  const address = (last: number) => `203.0.113.${slot * 16 + last}`;
  const [hosts, nameServer] = [[address(2), address(3)] as const, address(4)];
  const link = `world${slot}`;

  function start(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    return child;
  }
  const inside = (net: string, command: readonly string[]) => start('nsenter', [`--net=${net}`, ...command]);

  async function close(): Promise<void> {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
    // The link would go by itself a little later, and its name and addresses are wanted again.
    await run('ip', ['link', 'delete', link], { timeoutMs: COMMAND_TIMEOUT_MS, okCodes: [0, 1] });
  }

  try {
    const holder = start('unshare', ['--net', 'sh', '-c', 'echo ready; read -r _']);
    await ready(holder);
    const net = `/proc/${holder.pid}/ns/net`;
    await run('ip', ['-batch', '-'], {
      timeoutMs: COMMAND_TIMEOUT_MS,
      input: `link add ${link} type veth peer name outside netns ${holder.pid}\naddr add ${address(1)}/28 dev ${link}\nlink set ${link} up\n`,
    });
    const own = [...hosts, nameServer].map((one) => `addr add ${one}/28 dev outside\n`).join('');
    await run('nsenter', [`--net=${net}`, 'ip', '-batch', '-'], {
      timeoutMs: COMMAND_TIMEOUT_MS,
      input: `link set lo up\nlink set outside up\n${own}`,
    });
    await ready(inside(net, [process.execPath, PEER, 'serve', hosts.join(','), String(PORT)]));
    const names = await startNameServer({ start: inside }, net, nameServer);
    return { hosts, port: PORT, nameServer, names, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function ready(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit').then(() => {
    throw new Error('a part of the outside world ended before it was ready');
  });
  await Promise.race([child.stdout ? once(child.stdout, 'data') : ended, ended]);
  ended.catch(() => {});
}
