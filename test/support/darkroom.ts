import { type ChildProcess, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Credentials, credentialsSchema } from '@darkroom/contract';
import { Agent } from 'undici';
import { run } from '../../packages/server/src/platform/process.ts';
import { instanceTag } from '../../packages/server/src/runtime/instance-tag.ts';
import { eventually } from './eventually.ts';

const checkoutLauncher = join(import.meta.dirname, '..', '..', 'bin', 'darkroom');

export interface DarkroomOptions {
  stateDir?: string;
  /** The configuration file's content; `registries.mirrors` and the like. */
  config?: Record<string, unknown>;
  env?: Record<string, string>;
  /** More of the command line, such as `--tls`. */
  flags?: string[];
  /** The `darkroom` program; by default the checkout's. */
  launcher?: string;
}

/** A real server: `bin/darkroom up` in a process of its own, over a state directory of its own. */
export interface Darkroom extends Credentials {
  readonly stateDir: string;
  /** Everything that it printed so far. */
  output(): string;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** SIGKILL of the server process, and waits for the end. */
  kill(): Promise<void>;
  /** Starts it again on the same port and state directory; with these variables over the ones from before. Raises when it ends before it listens. */
  restart(again?: RestartOptions): Promise<void>;
  /** Resolves when the server process that was started last has ended, however it does. */
  readonly ended: Promise<void>;
  /** Stops it, ends its sandboxes and removes all that it kept. */
  destroy(): Promise<void>;
  /** A request to the Daytona API with the admin key. */
  api(path: string, init?: { method?: string; body?: unknown; headers?: Record<string, string> }): Promise<Response>;
  readonly pid: number;
}

export interface RestartOptions {
  env?: Record<string, string>;
  /** Told as soon as there is a process, which may be killed before it listens. */
  onProcess?: (kill: () => void) => void;
  /** The second life alone, in which the process is the server: the machine was looked at before, and the pool is mounted. */
  quickly?: boolean;
}

/** Where such a server has its temporary files, and nothing else does. */
export const temporaryDirOf = (stateDir: string) => join(tmpdir(), `darkroom-tmp-${instanceTag(stateDir)}`);

const configFileOf = (stateDir: string) => `${stateDir}.yml`;

/** As the first life of `darkroom up` starts the second (`packages/cli/src/own-namespace.ts`). */
const SECOND_LIFE = ['unshare', '--mount', '--propagation', 'slave', '--', process.execPath, '--max-semi-space-size=2'];
const secondLifeEnvironment = () => ({
  DARKROOM_HOST_MOUNT_NAMESPACE: readlinkSync('/proc/self/ns/mnt'),
  MALLOC_ARENA_MAX: '2',
  NODE_COMPILE_CACHE: join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'darkroom'),
});

const START_LIMIT_MS = 60_000;
const MAX_PAGES = 100;

export async function startDarkroom(options: DarkroomOptions = {}): Promise<Darkroom> {
  const stateDir = options.stateDir ?? (await mkdtemp(join(tmpdir(), 'darkroom-test-')));
  const configFile = configFileOf(stateDir);
  // JSON is YAML.
  await writeFile(configFile, JSON.stringify({ pool: { maxBytes: 8 * 2 ** 30 }, ...options.config }));
  await mkdir(temporaryDirOf(stateDir), { recursive: true });
  await chmod(temporaryDirOf(stateDir), 0o1777);
  let listen = '127.0.0.1:0';
  let current = await launch().catch(async (error: unknown) => {
    await removeState(stateDir);
    throw error;
  });

  async function launch(again: RestartOptions = {}) {
    const quickly = again.quickly === true;
    const started = await spawnServer(
      [
        ...(quickly ? SECOND_LIFE : [process.execPath]),
        ...[options.launcher ?? checkoutLauncher, 'up', '--state-dir', stateDir],
        ...['--listen', listen, '--config', configFile, ...(options.flags ?? [])],
      ],
      { TMPDIR: temporaryDirOf(stateDir), ...options.env, ...again.env, ...(quickly ? secondLifeEnvironment() : {}) },
      again.onProcess,
    );
    const credentials = credentialsSchema.parse(JSON.parse(await readFile(join(stateDir, 'credentials.json'), 'utf8')));
    listen = new URL(credentials.url).host;
    // With `--tls` nobody trusts it yet.
    const tls = credentials.url.startsWith('https:') ? { ca: await readFile(join(stateDir, 'tls', 'ca.crt')) } : {};
    return { ...started, credentials, agent: new Agent({ connect: tls }) };
  }

  const end = async (signal: NodeJS.Signals) => {
    if (current.child.exitCode !== null || current.child.signalCode !== null) return;
    current.child.kill(signal);
    await current.ended;
  };

  return {
    stateDir,
    get url() {
      return current.credentials.url;
    },
    get apiKey() {
      return current.credentials.apiKey;
    },
    get organizationId() {
      return current.credentials.organizationId;
    },
    get pid() {
      return current.child.pid ?? -1;
    },
    output: () => current.output(),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    async restart(again) {
      await end('SIGTERM');
      current = await launch(again);
    },
    get ended() {
      return current.ended;
    },
    async destroy() {
      try {
        await deleteAllSandboxes(current).catch(() => {});
        await end('SIGTERM');
      } finally {
        await end('SIGKILL');
        await removeState(stateDir);
      }
    },
    api: (path, init = {}) => request(current, path, init),
  };
}

interface Reached {
  credentials: Credentials;
  agent: Agent;
}

function request(
  { credentials, agent }: Reached,
  path: string,
  init: { method?: string; body?: unknown; headers?: Record<string, string> },
): Promise<Response> {
  const body = init.body === undefined ? {} : { body: JSON.stringify(init.body) };
  return fetch(`${credentials.url}/api${path}`, {
    method: init.method ?? 'GET',
    headers: {
      authorization: `Bearer ${credentials.apiKey}`,
      ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...init.headers,
    },
    ...body,
    dispatcher: agent,
    signal: AbortSignal.timeout(120_000),
  });
}

async function spawnServer(args: string[], env: Record<string, string>, onProcess?: (kill: () => void) => void) {
  // Its own process group would hide it from Ctrl-C of the test run; it stays in ours.
  const [program = '', ...more] = args;
  const child: ChildProcess = spawn(program, more, {
    env: { ...process.env, DARKROOM_LOG_LEVEL: 'debug', DARKROOM_LOG_FORMAT: 'json', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onProcess?.(() => child.kill('SIGKILL'));
  let output = '';
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    const tooLate = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the server did not start within ${START_LIMIT_MS} ms:\n${output}`));
    }, START_LIMIT_MS);
    const onData = (text: Buffer) => {
      output += text.toString();
      if (/^Listening on +http/m.test(output)) {
        clearTimeout(tooLate);
        resolve();
      }
    };
    child.stdout?.on('data', onData);
    child.stderr?.on('data', onData);
    child.once('exit', (code, signal) => {
      clearTimeout(tooLate);
      reject(new Error(`the server ended at start (${code ?? signal}):\n${output}`));
    });
  });
  return { child, ended, output: () => output };
}

/** Page by page, until there is none: a server that stops leaves its sandboxes running, and none comes after this one. */
async function deleteAllSandboxes(server: Reached): Promise<void> {
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const { items } = await jsonOf<{ items: { id: string }[] }>(request(server, '/sandbox?limit=100', {}));
    if (items.length === 0) return;
    await Promise.all(items.map(({ id }) => request(server, `/sandbox/${id}`, { method: 'DELETE' })));
    for (const { id } of items) {
      await eventually(`sandbox ${id} is gone`, async () => {
        const { status } = await request(server, `/sandbox/${id}`, {});
        return status === 404 ? true : undefined;
      });
    }
  }
}

/** The pool may be a mount of its own; it goes first. */
async function removeState(stateDir: string): Promise<void> {
  await run('umount', ['--lazy', join(stateDir, 'pool')], { timeoutMs: 10_000, okCodes: [0, 1, 32] });
  await rm(stateDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  await rm(temporaryDirOf(stateDir), { recursive: true, force: true });
  await rm(configFileOf(stateDir), { force: true });
}

/** The body of an answer as the test expects it; what it asserts afterwards is what is checked. */
export async function jsonOf<T>(answer: Response | Promise<Response>): Promise<T> {
  return JSON.parse(await (await answer).text());
}
