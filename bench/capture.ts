import { run } from '../packages/server/src/platform/process.ts';
import { createSandbox, deleteSandbox, execute, post } from './lib/darkroom.ts';
import type { Docker } from './lib/peers.ts';
import { ms, printTable, ratio, type Summary, summarize, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';
import { type StandStill, standStill } from './lib/stand-still.ts';

/**
 * A snapshot of a sandbox in which so much was changed, over HTTP until it is active, against `docker commit` and `podman commit` of a container with the
 * same changes; and for how long programs in it stood still meanwhile, seen from inside (`lib/stand-still.ts`).
 */
const RUNS = Number(process.env.BENCH_RUNS ?? 5);
const MEGABYTES = (process.env.BENCH_MB ?? '1,100,1000').split(',').map(Number);
const FILES = Number(process.env.BENCH_FILES ?? 20_000);
const CHANGED = 'head -c 100000000 /dev/urandom > /root/changed';

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

/** Something that runs containers and makes images of them. */
interface Contestant {
  begin(): Promise<string>;
  run(id: string, script: string): Promise<string>;
  capture(id: string, name: string): Promise<unknown>;
  end(id: string): Promise<unknown>;
  forget(name: string): Promise<unknown>;
}

await using bench = await setUp('bench-capture-');
// What was captured is removed a minute later.
const darkroom = await bench.darkroom('it', { pool: { maxBytes: 40 * 2 ** 30 } });
const docker = await bench.docker();
const podman = await bench.podman();
const { image } = bench;

const peer = ({ docker: call }: Docker): Contestant => ({
  begin: () => call('run', '-d', '--stop-timeout', '0', image, 'sleep', '100000'),
  run: (id, script) => call('exec', id, 'sh', '-c', script),
  capture: (id, name) => call('commit', id, name),
  end: (id) => call('rm', '--force', id),
  forget: (name) => call('rmi', '--force', name),
});
const contestants: Record<'darkroom' | 'docker' | 'podman', Contestant> = {
  darkroom: {
    begin: async () => (await createSandbox(darkroom, 'it')).id,
    run: (id, script) => execute(darkroom, id, script),
    capture: (id, name) => post(darkroom, `/api/sandbox/${id}/snapshot`, { name }),
    end: (id) => deleteSandbox(darkroom, id),
    forget: (name) => darkroom.api(`/snapshots/${name}`, { method: 'DELETE' }),
  },
  docker: peer(docker),
  podman: peer(podman),
};

const results = [];
for (const { name, script } of cases) {
  const samples = { darkroom: [] as number[], docker: [] as number[], podman: [] as number[] };
  for (let index = 0; index < RUNS; index++) {
    for (const who of ['darkroom', 'docker', 'podman'] as const) {
      const { begin, run: runIn, capture, end, forget } = contestants[who];
      const snapshot = `capture-${results.length}-${index}`;
      // Nobody's write-back takes the place of what another left in the page cache.
      await run('sync', [], { timeoutMs: 60_000 });
      const id = await begin();
      await runIn(id, script);
      samples[who].push(await timed(() => capture(id, snapshot)));
      await end(id);
      await forget(snapshot);
    }
  }
  const { darkroom: ours, docker: theirs, podman: others } = samples;
  results.push({ name, darkroom: summarize(ours), docker: summarize(theirs), podman: summarize(others) });
}
printTable(`Captures, p50 of ${RUNS}`, [
  ['', 'Darkroom', 'docker commit', 'podman commit', '/ docker', '/ podman'],
  ...results.map((each) => [
    each.name,
    ms(each.darkroom.p50),
    ms(each.docker.p50),
    ms(each.podman.p50),
    ratio(each.darkroom.p50, each.docker.p50),
    ratio(each.darkroom.p50, each.podman.p50),
  ]),
]);

const pauses = [];
for (const load of ['nothing', 'writes without end'] as const) {
  // Podman does not stop what runs in a container, and copies what it finds.
  for (const who of ['darkroom', 'docker'] as const) {
    const { begin, run: runIn, capture, end, forget } = contestants[who];
    const waits: Record<keyof StandStill, number[]> = { disk: [], memory: [], diskBefore: [], memoryBefore: [] };
    for (let index = 0; index < RUNS; index++) {
      const id = await begin();
      await runIn(id, CHANGED);
      const seen = await standStill(
        (script) => runIn(id, script),
        load,
        () => capture(id, `pause-${index}`),
      );
      for (const key of ['disk', 'memory', 'diskBefore', 'memoryBefore'] as const) waits[key].push(seen[key]);
      await end(id);
      await forget(`pause-${index}`);
    }
    pauses.push({
      who,
      load,
      disk: summarize(waits.disk),
      memory: summarize(waits.memory),
      diskBefore: summarize(waits.diskBefore),
      memoryBefore: summarize(waits.memoryBefore),
    });
  }
}
const both = (summary: Summary) => `${ms(summary.p50)}, ${ms(summary.max)}`;
printTable(`The longest that a program inside stood still, with 100 MB changed: p50 and most of ${RUNS}`, [
  ['', 'beside it', 'writing to disk', 'to memory', 'to disk, no capture', 'to memory, no capture'],
  ...pauses.map((each) => [
    each.who,
    each.load,
    both(each.disk),
    both(each.memory),
    both(each.diskBefore),
    both(each.memoryBefore),
  ]),
]);
await writeResults('capture', { runs: RUNS, results, pauses });

/** Nothing is synced before: writing back what was changed is part of the work. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
