import { createSandbox, deleteSandbox, execute, post } from './lib/darkroom.ts';
import type { Docker } from './lib/peers.ts';
import { ms, printTable, ratio, summarize, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/**
 * Forks of a running sandbox in which so much was changed, over HTTP until each child has given the output of its first command, against
 * `docker commit` and as many `docker run`, and the same with Podman. Peers in the same run, one after the other.
 */
const RUNS = Number(process.env.BENCH_RUNS ?? 3);
const COUNTS = (process.env.BENCH_CHILDREN ?? '1,100').split(',').map(Number);
const MEGABYTES = Number(process.env.BENCH_MB ?? 100);
const PEERS = (process.env.BENCH_PEERS ?? 'docker,podman').split(',').filter((name) => name !== '');
const CHANGE = `head -c ${MEGABYTES}000000 /dev/urandom > /root/changed`;
const COMMAND = 'wc -c < /root/changed';

await using bench = await setUp('bench-fork-');
const darkroom = await bench.darkroom('it');
const { image } = bench;
const peers: Record<string, Docker> = {};
if (PEERS.includes('docker')) peers.docker = await bench.docker();
if (PEERS.includes('podman')) peers.podman = await bench.podman();

const results = [];
for (const count of COUNTS) {
  const answered: number[] = [];
  const samples: Record<string, number[]> = { darkroom: [] };
  for (let index = 0; index < RUNS; index++) {
    const { id } = await createSandbox(darkroom, 'it');
    await execute(darkroom, id, CHANGE);
    const ours = await forkDarkroom(id, count);
    samples.darkroom?.push(ours.total);
    answered.push(ours.answered);
    await Promise.all([id, ...ours.children].map((each) => deleteSandbox(darkroom, each)));
    for (const [name, peer] of Object.entries(peers)) {
      const copy = `fork-${count}-${index}`;
      const container = await peer.docker('run', '-d', '--stop-timeout', '0', image, 'sleep', '100000');
      await peer.docker('exec', container, 'sh', '-c', CHANGE);
      const started = performance.now();
      await peer.docker('commit', container, copy);
      await Promise.all(
        Array.from({ length: count }, () => peer.toFirstOutput('run', '--rm', copy, 'sh', '-c', COMMAND)),
      );
      samples[name] = [...(samples[name] ?? []), performance.now() - started];
      await peer.docker('rm', '--force', container);
      await peer.docker('rmi', '--force', copy);
    }
  }
  const of = (name: string) => summarize(samples[name] ?? []);
  results.push({
    count,
    answered: summarize(answered),
    darkroom: of('darkroom'),
    docker: of('docker'),
    podman: of('podman'),
  });
}
printTable(`Forks with ${MEGABYTES} MB changed until each has said something, ${RUNS} runs`, [
  ['children', 'Darkroom p50', 'answered', 'docker', 'podman', '/ docker', '/ podman'],
  ...results.map((each) => [
    String(each.count),
    ms(each.darkroom.p50),
    ms(each.answered.p50),
    ...[each.docker, each.podman].map((peer) => (peer.runs === 0 ? 'not run' : ms(peer.p50))),
    ...[each.docker, each.podman].map((peer) => (peer.runs === 0 ? '' : ratio(each.darkroom.p50, peer.p50))),
  ]),
]);
await writeResults('fork', { runs: RUNS, megabytes: MEGABYTES, results });

/** Nothing is synced before: writing back what was changed is part of the work. */
async function forkDarkroom(id: string, count: number) {
  const started = performance.now();
  const body = { children: Array.from({ length: count }, () => ({})) };
  const made: { id: string }[] = JSON.parse(await post(darkroom, `/api/sandbox/${id}/forks`, body));
  const answered = performance.now() - started;
  const children = made.map((each) => each.id);
  const outputs = await Promise.all(children.map((each) => execute(darkroom, each, COMMAND)));
  const total = performance.now() - started;
  const wrong = outputs.find((output) => output.trim() !== `${MEGABYTES}000000`);
  if (wrong !== undefined) throw new Error(`a child said ${wrong}`);
  return { answered, total, children };
}
