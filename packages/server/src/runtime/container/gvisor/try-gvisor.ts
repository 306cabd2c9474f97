import { rmdir } from 'node:fs/promises';
import { messageOf } from '../../../platform/errors.ts';
import { run } from '../../../platform/process.ts';
import { probeDirectory } from '../../probe-directory.ts';
import { HIDE_CORE_SETTINGS, RUNSC_FLAGS } from './runsc-flags.ts';

/** A second on a machine that has nothing else to do. */
const TIMEOUT_MS = 15_000;

export interface TrialIds {
  idBase: number;
  idCount: number;
}

export type Trial = { works: true; version: string } | { works: false; version: string; reason: string };

/**
 * Whether a release of gVisor runs here what a sandbox is: shifted ids, a network namespace of its own, commands in what runs
 * already, also after one was killed: Debian's rebuild 20240729.0-7+b1 does not survive many. Tried for real, in mount, pid and network namespaces that end with the trial and take
 * with them whatever it left.
 */
export async function tryGvisor(program: string, { idBase, idCount }: TrialIds): Promise<Trial> {
  const directory = await probeDirectory();
  let version = 'runsc';
  try {
    version = `runsc ${/version (\S+)/.exec((await run(program, ['--version'], { timeoutMs: TIMEOUT_MS })).stdout)?.[1]}`;
    const { stdout } = await run('unshare', [...OWN_NAMESPACES, SCRIPT, 'sh', directory, String(idBase), program], {
      timeoutMs: TIMEOUT_MS,
      input: JSON.stringify(containerConfig({ idBase, idCount })),
    });
    if (stdout.includes('tini version')) return { works: true, version };
    return { works: false, version, reason: 'its program said nothing' };
  } catch (error) {
    return { works: false, version, reason: whatItSaid(error) };
  } finally {
    await rmdir(directory);
  }
}

/** Its own last words, which are none where it said only what it should. */
function whatItSaid(error: unknown): string {
  const line = messageOf(error).trim().split('\n').at(-1) ?? '';
  const words = line.replace(/^.*?exit code \d+: /, '').slice(0, 300);
  return words.startsWith('tini version') ? 'it ended in the middle of the trial' : words;
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
  gvisor="$3 --root $1/state ${RUNSC_FLAGS.join(' ')}"
  $gvisor create --bundle "$1" probe
  unshare --mount sh -euc '${HIDE_CORE_SETTINGS}' sh "$1/net" $gvisor start probe
  $gvisor exec --internal-pid-file pid probe /program -s -- /init -P &
  for wait in $(seq 50); do
    if [ -s pid ]; then break; fi
    sleep 0.1
  done
  $gvisor kill --pid "$(cat pid)" probe KILL
  for round in 1 2 3 4 5 6; do
    for one in 1 2 3; do $gvisor exec probe /program -s -- /program --version > ignored & done
    $gvisor exec probe /program -s -- /program --version
  done
  wait
  $gvisor exec probe /program --version`;

function containerConfig({ idBase, idCount }: TrialIds): object {
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
