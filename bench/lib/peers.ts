import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../packages/server/src/platform/process.ts';

/** Docker's engine (Debian's docker.io) over a data directory of its own, in the network namespace of the benchmark. */
export interface Docker {
  docker(...args: string[]): Promise<string>;
  /** Milliseconds from the spawn of the command-line client to its first output. */
  toFirstOutput(...args: string[]): Promise<number>;
  close(): Promise<void>;
}

export async function startDocker(): Promise<Docker> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-docker-'));
  const socket = `unix://${directory}/docker.sock`;
  const dockerd = existsSync('/usr/sbin/dockerd') ? '/usr/sbin/dockerd' : 'dockerd';
  const child = spawn(
    dockerd,
    [
      '-H',
      socket,
      '--data-root',
      `${directory}/data`,
      '--exec-root',
      `${directory}/exec`,
      '--pidfile',
      `${directory}/pid`,
      '--log-level',
      'error',
    ],
    { stdio: 'ignore', detached: true },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const client = existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker';
  const docker = async (...args: string[]) =>
    (await run(client, ['-H', socket, ...args], { timeoutMs: 600_000 })).stdout.trim();
  const deadline = Date.now() + 60_000;
  for (;;) {
    if (await docker('version', '--format', '{{.Server.Version}}').catch(() => undefined)) break;
    if (Date.now() > deadline || child.exitCode !== null)
      throw new Error('dockerd did not start; is docker.io installed?');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    docker,
    toFirstOutput: (...args) => toFirstOutput(client, ['-H', socket, ...args]),
    async close() {
      child.kill('SIGTERM');
      await ended;
      await unmountBelow(directory);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Milliseconds from the spawn of a command to the first byte of its output; waits for its end outside the measure. */
export function toFirstOutput(
  command: string,
  args: readonly string[],
  options: { cwd?: string } = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    let first: number | undefined;
    let stderr = '';
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000, ...options });
    child.stdout.once('data', () => {
      first = performance.now() - started;
    });
    child.stdout.resume();
    child.stderr.on('data', (text: Buffer) => {
      stderr += text.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0 && first !== undefined) resolve(first);
      else reject(new Error(`${command} ${args.slice(0, 3).join(' ')}: exit ${code}: ${stderr.slice(-1000)}`));
    });
  });
}

/** What a peer that was ended leaves mounted. */
async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
  for (const target of mounts.filter((path) => path.startsWith(`${directory}/`)).reverse()) {
    await run('umount', ['--lazy', target], { timeoutMs: 30_000, okCodes: [0, 1, 32] });
  }
}

export interface Podman extends Docker {
  /** Flags that lead buildah to the same images. */
  readonly storage: readonly string[];
}

/** Podman over storage of its own. */
export async function startPodman(): Promise<Podman> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-podman-'));
  await mkdir(join(directory, 'root'));
  // Podman asks for more than every host allows.
  const settings = join(directory, 'containers.conf');
  await writeFile(settings, '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n');
  process.env.CONTAINERS_CONF = settings;
  const storage = ['--root', `${directory}/root`, '--runroot', `${directory}/run`, '--storage-driver', 'overlay'];
  const base = [
    ...storage,
    '--tmpdir',
    `${directory}/tmp`,
    '--cgroup-manager',
    'cgroupfs',
    '--events-backend',
    'none',
    '--runtime',
    'crun',
  ];
  return {
    storage,
    docker: async (...args) => (await run('podman', [...base, ...args], { timeoutMs: 600_000 })).stdout.trim(),
    toFirstOutput: (...args) => toFirstOutput('podman', [...base, ...args]),
    async close() {
      await run('podman', [...base, 'rm', '--all', '--force', '--time', '0'], {
        timeoutMs: 120_000,
        okCodes: [0, 1, 2, 125],
      });
      await unmountBelow(directory);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
