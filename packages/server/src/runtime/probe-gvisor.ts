import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../platform/errors.ts';
import { findProgram } from '../platform/find-program.ts';
import { run } from '../platform/process.ts';
import { CHECK_TIMEOUT_MS, ok, type ProbeResult, warn } from './probe-check.ts';
import type { IdRange } from './probe-shifted.ts';

const ADVICE = 'Nothing needs it: sandboxes run by crun.';

/**
 * Whether gVisor could run what a sandbox is: shifted ids, a network of its own, a command in what runs already. Tried for real,
 * in mount, pid and network namespaces that end with the try and take with them whatever it left.
 */
export async function probeGvisor({ idBase, idCount }: IdRange): Promise<ProbeResult> {
  let runsc: string;
  try {
    runsc = findProgram('runsc');
  } catch {
    return ok('not installed, and not needed');
  }
  const version = /version (\S+)/.exec((await run(runsc, ['--version'], { timeoutMs: CHECK_TIMEOUT_MS })).stdout)?.[1];
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-probe-'));
  try {
    const { stdout } = await run('unshare', [...OWN_NAMESPACES, SCRIPT, 'sh', directory, String(idBase), runsc], {
      timeoutMs: CHECK_TIMEOUT_MS,
      input: JSON.stringify(containerConfig({ idBase, idCount })),
    });
    if (!stdout.includes('tini version')) return warn(`runsc ${version}: its program said nothing`, ADVICE);
    return ok(`runsc ${version} runs containers here; snapshots cannot ask for it yet`);
  } catch (error) {
    return warn(`runsc ${version} does not work here: ${whatItSaid(error)}`, ADVICE);
  } finally {
    await rmdir(directory);
  }
}

/** Its own words, without the command that they were said to. */
function whatItSaid(error: unknown): string {
  return (
    messageOf(error)
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^.*?exit code \d+: /, '')
      .slice(0, 300) ?? ''
  );
}

const OWN_NAMESPACES = [
  '--mount',
  '--propagation',
  'slave',
  '--net',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  'sh',
  '-euc',
];

const SCRIPT = `
  mount -t tmpfs -o size=64m,mode=0755 darkroom-probe "$1"
  cd "$1"
  mkdir root root/proc root/dev state
  cp "$(command -v catatonit)" root/init
  cp "$(command -v tini-static)" root/program
  chown -R "$2:$2" root
  cat > config.json
  touch net
  mount --bind /proc/self/ns/net net
  ip link set lo up
  sed -i "s#NETWORK#$1/net#" config.json
  gvisor="$3 --root $1/state --ignore-cgroups --network=sandbox"
  $gvisor create --bundle "$1" probe
  $gvisor start probe
  $gvisor exec probe /program --version`;

function containerConfig({ idBase, idCount }: IdRange): object {
  const ids = [{ containerID: 0, hostID: idBase, size: idCount }];
  const namespaces = ['pid', 'mount', 'ipc', 'uts', 'user'].map((type) => ({ type }));
  return {
    ociVersion: '1.0.2',
    root: { path: 'root' },
    hostname: 'probe',
    process: {
      args: ['/init', '-P'],
      cwd: '/',
      env: [],
      user: { uid: 0, gid: 0 },
      noNewPrivileges: true,
      capabilities: {},
    },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      namespaces: [...namespaces, { type: 'network', path: 'NETWORK' }],
      uidMappings: ids,
      gidMappings: ids,
    },
  };
}
