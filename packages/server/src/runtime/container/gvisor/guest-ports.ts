import { buffer } from 'node:stream/consumers';
import { invalidRequest } from '../../../platform/errors.ts';
import type { ContainerHost } from '../container-host.ts';
import { execInContainer } from '../exec.ts';
import { NOT_FOUND } from '../exec-check.ts';
import { portsIn } from '../listening-ports.ts';
import type { LiveContainer } from '../live-container.ts';

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
const READ_TIMEOUT_MS = 10_000;

/** The kernel of the host sees no sockets of gVisor's: the image's `cat` reads what gVisor tells the sandbox. */
export async function guestListeningPorts(host: ContainerHost, container: LiveContainer): Promise<number[]> {
  if (container.isPaused) throw invalidRequest('the ports of a paused sandbox under gVisor cannot be listed');
  const user = { uid: 0, gid: 0, additionalGids: [], home: '/root', name: 'root' };
  const child = await execInContainer(host, container, { argv: ['cat', ...TABLES], env: {}, cwd: '/', user });
  const timer = setTimeout(() => void child.killTree().catch(() => {}), READ_TIMEOUT_MS);
  try {
    child.stdin.end();
    child.stderr.resume();
    const [table, { exitCode }] = await Promise.all([buffer(child.stdout), child.exited]);
    if (exitCode === NOT_FOUND) {
      throw invalidRequest(
        'the ports of this sandbox cannot be listed: it runs under gVisor, and its image has no `cat`',
      );
    }
    return [...new Set(portsIn(table.toString('latin1')))].sort((a, b) => a - b);
  } finally {
    clearTimeout(timer);
  }
}
