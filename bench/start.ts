import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../packages/server/src/platform/process.ts';
import { baseImageLayout } from '../scripts/base-image.ts';
import { createSandbox, deleteSandbox, execute, makeSnapshot } from './lib/darkroom.ts';
import { paddedImage } from './lib/images.ts';
import { toFirstOutput } from './lib/peers.ts';
import { measure, ms, printTable, ratio, type Summary, takeTurns, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/**
 * Create to first output: Darkroom over HTTP against `docker run`, `podman run` and bare `crun run` on the same image in the same
 * run; a 2 GB snapshot against a small one; 100 at once.
 */
const RUNS = Number(process.env.BENCH_RUNS ?? 50);
const WARM_UP = 5;
const AT_ONCE = Number(process.env.BENCH_AT_ONCE ?? 100);
const COMMAND = 'echo hi';
const BIG_IMAGE = 'big:2gb';

await using bench = await setUp('bench-start-');
await bench.registry.push(await paddedImage(2048, 2000), `library/${BIG_IMAGE}`);

const darkroom = await bench.darkroom('small', { runtime: { readyNamespaces: 32 } });
await makeSnapshot(darkroom, 'big', BIG_IMAGE);
const docker = await bench.docker();
const { image } = bench;
const podman = await bench.podmanIfItRuns(async (it) => {
  await it.docker('tag', image, 'bench');
  await it.toFirstOutput('run', '--rm', 'bench', 'sh', '-c', COMMAND);
});
const runWithCrun = await prepareCrun();

const create = async (snapshot: string) => {
  const started = performance.now();
  const { id } = await createSandbox(darkroom, snapshot);
  if ((await execute(darkroom, id, COMMAND)).trim() !== 'hi') throw new Error('the command did not say hi');
  const sample = performance.now() - started;
  // As between two people who start one each: the one before is gone.
  await deleteSandbox(darkroom, id);
  return sample;
};
// All take turns, so that a slower minute of the machine meets each of them.
const contestants: Record<string, () => Promise<number>> = {
  small: () => create('small'),
  big: () => create('big'),
  docker: () => docker.toFirstOutput('run', '--rm', image, 'sh', '-c', COMMAND),
  crun: runWithCrun,
  ...(podman && {
    podman: () => podman.toFirstOutput('run', '--rm', 'bench', 'sh', '-c', COMMAND),
  }),
};
const of = await takeTurns(contestants, { runs: RUNS, warmUp: WARM_UP });
const [small, big, bareCrun, dockerRun] = [of('small'), of('big'), of('crun'), of('docker')];
const podmanRun = podman && of('podman');

const peers: [string, Summary | undefined][] = [
  ['docker run', dockerRun],
  ['podman run', podmanRun],
  ['crun run (bare, no network)', bareCrun],
];
printTable(`Create to first output, ${RUNS} runs`, [
  ['', 'p50', 'p95', 'p95/p50', 'Darkroom p50 / this'],
  ['Darkroom, over HTTP', ms(small.p50), ms(small.p95), (small.p95 / small.p50).toFixed(2), '1'],
  ...peers.flatMap(([name, it]) =>
    it
      ? [[name, ms(it.p50), ms(it.p95), (it.p95 / it.p50).toFixed(2), ratio(small.p50, it.p50)]]
      : [[name, 'not run', '', '', '']],
  ),
]);
const flat = big.p50 / small.p50;
printTable('Size of the snapshot', [
  ['', 'p50', 'p95', 'ratio'],
  ['small', ms(small.p50), ms(small.p95), ''],
  ['2 GB', ms(big.p50), ms(big.p95), flat.toFixed(3)],
]);

const startedAtOnce = performance.now();
const sandboxes = await Promise.all(Array.from({ length: AT_ONCE }, () => createSandbox(darkroom, 'small')));
const atOnce = performance.now() - startedAtOnce;
await Promise.all(sandboxes.map(({ id }) => deleteSandbox(darkroom, id)));
const dockerAtOnce = (
  await measure(1, async () => {
    await Promise.all(Array.from({ length: AT_ONCE }, () => docker.docker('run', '-d', image, 'sleep', '600')));
  })
)[0];
printTable(`${AT_ONCE} at once, until all run`, [
  ['', 'time', 'ratio'],
  ['Darkroom', ms(atOnce), ''],
  ['docker run -d', ms(dockerAtOnce ?? Number.NaN), ratio(atOnce, dockerAtOnce ?? Number.NaN)],
]);
await writeResults('start', {
  small,
  big,
  flat,
  dockerRun,
  podmanRun,
  bareCrun,
  atOnce: { count: AT_ONCE, darkroom: atOnce, docker: dockerAtOnce },
});

/** An overlay mount over the unpacked image and `crun run` of the command: the floor under everything else. */
async function prepareCrun(): Promise<() => Promise<number>> {
  const { layout } = await baseImageLayout();
  const home = join(bench.directory, 'crun');
  await mkdir(home);
  await run('umoci', ['unpack', '--image', layout, join(home, 'image')], { timeoutMs: 300_000 });
  await run('crun', ['spec'], { timeoutMs: 5_000, cwd: home });
  const spec = JSON.parse((await run('cat', [join(home, 'config.json')], { timeoutMs: 5_000 })).stdout);
  spec.process.terminal = false;
  spec.process.args = ['sh', '-c', COMMAND];
  spec.root = { path: join(home, 'merged'), readonly: false };
  await Promise.all(['upper', 'work', 'merged'].map((name) => mkdir(join(home, name))));
  await writeFile(join(home, 'config.json'), JSON.stringify(spec));
  // As our server does it on hybrid hosts; this is a mount namespace of our own.
  await run('umount', ['/sys/fs/cgroup/unified'], { timeoutMs: 5_000, okCodes: [0, 1, 32] });
  const mountAndRun = `mount -t overlay overlay -o lowerdir=image/rootfs,upperdir=upper,workdir=work merged && crun --root ${home}/state run --bundle . bench-crun; umount merged`;
  return () => toFirstOutput('sh', ['-c', mountAndRun], { cwd: home });
}
