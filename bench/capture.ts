import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BASE_IMAGE, baseImageLayout } from '../scripts/base-image.ts';
import { startLocalRegistry } from '../scripts/local-registry.ts';
import { startDarkroom } from '../test/support/darkroom.ts';
import { createSandbox, deleteSandbox, execute, makeSnapshot, post } from './lib/darkroom.ts';
import { startDocker, startPodman } from './lib/peers.ts';
import { ms, printTable, ratio, summarize, writeResults } from './lib/report.ts';

/**
 * A snapshot of a sandbox in which so much was changed, over HTTP until it is active, against `docker commit` and `podman commit` of a container with the
 * same changes; and the longest that a program in the sandbox had to wait for a write meanwhile, beside the longest without a capture.
 */
const RUNS = Number(process.env.BENCH_RUNS ?? 3);
const MEGABYTES = (process.env.BENCH_MB ?? '1,100,1000').split(',').map(Number);
const FILES = Number(process.env.BENCH_FILES ?? 20_000);

const cases = [
  ...MEGABYTES.map((size) => ({
    name: `${size} MB changed`,
    script: `head -c ${size}000000 /dev/urandom > /root/changed`,
  })),
  {
    name: `${FILES} small files`,
    script: `mkdir /root/many && cd /root/many && seq ${FILES} | split --lines=1 --suffix-length=6 -`,
  },
];

/** Appends a byte every half millisecond until it is told to end, and says how long it waited for the longest one. */
const WRITER = `import os,time
f=open('/root/beat','ab',buffering=0);longest=0
while not os.path.exists('/root/end'):
  t=time.monotonic();f.write(b'.');longest=max(longest,time.monotonic()-t);time.sleep(.0005)
print(longest*1000)`;

const directory = await mkdtemp(join(tmpdir(), 'bench-capture-'));
const cleanup: (() => Promise<void>)[] = [() => rm(directory, { recursive: true, force: true })];
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
  await makeSnapshot(darkroom, 'it', BASE_IMAGE);
  const docker = await startDocker();
  cleanup.push(docker.close);
  const podman = await startPodman();
  cleanup.push(podman.close);
  const image = `${registry.host}/library/${BASE_IMAGE}`;
  await docker.docker('pull', '--quiet', image);
  await podman.docker('pull', '--quiet', '--tls-verify=false', image);

  const peers = { docker, podman };
  const results = [];
  for (const { name, script } of cases) {
    const samples = { darkroom: [] as number[], docker: [] as number[], podman: [] as number[] };
    const waits = { with: [] as number[], without: [] as number[] };
    for (let index = 0; index < RUNS; index++) {
      const snapshot = `capture-${results.length}-${index}`;
      const { id } = await createSandbox(darkroom, 'it');
      await execute(darkroom, id, script);
      waits.without.push(await longestWait(id, () => new Promise((resolve) => setTimeout(resolve, 300))));
      // Beside the measured one, which has the machine for itself.
      await execute(darkroom, id, `${script.replaceAll('/root/', '/root/again-')}`);
      waits.with.push(
        await longestWait(id, () => post(darkroom, `/api/sandbox/${id}/snapshot`, { name: `${snapshot}-waits` })),
      );
      await deleteSandbox(darkroom, id);
      const fresh = await createSandbox(darkroom, 'it');
      await execute(darkroom, fresh.id, script);
      samples.darkroom.push(await timed(() => post(darkroom, `/api/sandbox/${fresh.id}/snapshot`, { name: snapshot })));
      await deleteSandbox(darkroom, fresh.id);
      for (const peer of ['docker', 'podman'] as const) {
        const { docker: call } = peers[peer];
        const container = await call('run', '-d', image, 'sleep', '100000');
        await call('exec', container, 'sh', '-c', script);
        samples[peer].push(await timed(() => call('commit', container, snapshot)));
        await call('rm', '--force', container);
        await call('rmi', '--force', snapshot);
      }
    }
    const { darkroom: ours, docker: theirs, podman: others } = samples;
    results.push({
      name,
      darkroom: summarize(ours),
      docker: summarize(theirs),
      podman: summarize(others),
      longestWait: summarize(waits.with),
      longestWaitWithout: summarize(waits.without),
    });
  }
  printTable(`Captures, ${RUNS} runs; the longest wait for a write inside, of all runs`, [
    ['', 'Darkroom p50', 'docker commit', 'podman commit', '/ docker', '/ podman', 'longest wait', 'without'],
    ...results.map((each) => [
      each.name,
      ms(each.darkroom.p50),
      ms(each.docker.p50),
      ms(each.podman.p50),
      ratio(each.darkroom.p50, each.docker.p50),
      ratio(each.darkroom.p50, each.podman.p50),
      ms(each.longestWait.max),
      ms(each.longestWaitWithout.max),
    ]),
  ]);
  await writeResults('capture', { runs: RUNS, results });

  async function longestWait(id: string, work: () => Promise<unknown>): Promise<number> {
    await execute(darkroom, id, 'rm -f /root/end /root/beat');
    const writer = execute(darkroom, id, `python3 -c "${WRITER}"`);
    await execute(darkroom, id, 'until [ -s /root/beat ]; do sleep 0.01; done');
    await work();
    await execute(darkroom, id, 'touch /root/end');
    return Number(await writer);
  }
} finally {
  for (const step of cleanup.reverse()) await step().catch((error: unknown) => console.error(error));
}

/** Nothing is synced before: writing back what was changed is part of the work. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
