import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BASE_IMAGE, baseImageLayout } from '../scripts/base-image.ts';
import { startLocalRegistry } from '../scripts/local-registry.ts';
import { startDarkroom } from '../test/support/darkroom.ts';
import { createSandbox, deleteSandbox, execute, makeSnapshot, post } from './lib/darkroom.ts';
import { type Docker, startDocker, startPodman } from './lib/peers.ts';
import { ms, printTable, ratio, type Summary, summarize, writeResults } from './lib/report.ts';

/** The round trip of a small command in what runs already: over HTTP, by itself and in a session, against the peers' `exec`. */
const RUNS = Number(process.env.BENCH_RUNS ?? 100);
const WARM_UP = 10;
const COMMAND = 'echo hi';
const EXTERNAL = '/bin/echo hi';
const SESSION = 'bench';

const directory = await mkdtemp(join(tmpdir(), 'bench-exec-'));
const cleanup: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })];
try {
  const registry = await startLocalRegistry(join(directory, 'registry'));
  cleanup.push(registry.close);
  const { layout } = await baseImageLayout();
  await registry.push(layout, `library/${BASE_IMAGE}`);
  const darkroom = await startDarkroom({
    config: { registries: { mirrors: { 'docker.io': [registry.url] } }, log: { level: 'warn' } },
    env: { DARKROOM_LOG_LEVEL: 'warn' },
  });
  cleanup.push(darkroom.destroy);
  await makeSnapshot(darkroom, 'small', BASE_IMAGE);
  const { id } = await createSandbox(darkroom, 'small');
  cleanup.push(() => deleteSandbox(darkroom, id));
  await post(darkroom, `/toolbox/${id}/process/session`, { sessionId: SESSION });

  const image = `${registry.host}/library/${BASE_IMAGE}`;
  const docker = await startDocker();
  cleanup.push(docker.close);
  await docker.docker('pull', '--quiet', image);
  await docker.docker('run', '--detach', '--name', 'bench', image, 'sleep', '3600');
  cleanup.push(() => docker.docker('rm', '--force', 'bench'));
  const podman = await preparePodman(image);
  if (podman !== undefined) cleanup.push(podman.close);

  const inSession = (command: string) =>
    timed(async () => {
      const answer = await post(darkroom, `/toolbox/${id}/process/session/${SESSION}/exec`, { command });
      return JSON.parse(answer).stdout;
    });
  const contestants: Record<string, () => Promise<number>> = {
    session: () => inSession(COMMAND),
    sessionExternal: () => inSession(EXTERNAL),
    execute: () => timed(() => execute(darkroom, id, COMMAND)),
    docker: () => docker.toFirstOutput('exec', 'bench', 'sh', '-c', COMMAND),
    ...(podman && { podman: () => podman.toFirstOutput('exec', 'bench', 'sh', '-c', COMMAND) }),
  };
  // All take turns, so that a slower minute of the machine meets each of them.
  const samples: Record<string, number[]> = {};
  for (let index = 0; index < RUNS + WARM_UP; index++) {
    for (const [name, once] of Object.entries(contestants)) {
      const sample = await once();
      if (index >= WARM_UP) samples[name] = [...(samples[name] ?? []), sample];
    }
  }
  const of = (name: string) => summarize(samples[name] ?? []);
  const results = { session: of('session'), sessionExternal: of('sessionExternal'), execute: of('execute') };
  const peers = { dockerExec: of('docker'), podmanExec: podman && of('podman') };
  const row = (name: string, it: Summary | undefined): string[] =>
    it === undefined
      ? [name, 'not run', '', '', '']
      : [
          name,
          ms(it.p50),
          ms(it.p95),
          ratio(it.p50, peers.dockerExec.p50),
          peers.podmanExec === undefined ? '' : ratio(it.p50, peers.podmanExec.p50),
        ];
  printTable(`Round trip of a small command, ${RUNS} runs`, [
    ['', 'p50', 'p95', 'p50 / docker exec', 'p50 / podman exec'],
    row('session, the shell itself', results.session),
    row('session, a program', results.sessionExternal),
    row('process/execute', results.execute),
    row('docker exec', peers.dockerExec),
    row('podman exec', peers.podmanExec),
  ]);
  await writeResults('exec', { ...results, ...peers });
} finally {
  for (const step of cleanup.reverse()) await step().catch((error: unknown) => console.error(error));
}

async function timed(command: () => Promise<string>): Promise<number> {
  const started = performance.now();
  if ((await command()).trim() !== 'hi') throw new Error('the command did not say hi');
  return performance.now() - started;
}

async function preparePodman(image: string): Promise<Docker | undefined> {
  const podman = await startPodman();
  try {
    await podman.docker('pull', '--quiet', '--tls-verify=false', image);
    await podman.docker('run', '--detach', '--name', 'bench', image, 'sleep', '3600');
    await podman.toFirstOutput('exec', 'bench', 'sh', '-c', COMMAND);
    return podman;
  } catch (error) {
    console.error(`podman does not run here: ${error instanceof Error ? error.message : error}`);
    await podman.close();
    return undefined;
  }
}
