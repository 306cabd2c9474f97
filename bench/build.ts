import { cp, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../packages/server/src/platform/process.ts';
import { baseImageLayout } from '../scripts/base-image.ts';
import { startDarkroom } from '../test/support/darkroom.ts';
import { whyNoPackages } from '../test/support/package-index.ts';
import {
  type BuildContestant,
  buildahContestant,
  darkroomContestant,
  dockerContestant,
} from './lib/build-contestants.ts';
import { type BuildScenario, scenariosFor } from './lib/build-scenarios.ts';
import { startPodman } from './lib/peers.ts';
import { ms, printTable, ratio, type Summary, summarize, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/**
 * Builds against `docker build` (BuildKit) + `docker run` and `buildah bud --layers` + `podman run`: nothing cached, all cached,
 * the last step changed; until the image can be used, and until the first output of a command in it. The base image is there before.
 * `--quick` is a short look with small numbers.
 */
const quick = process.argv.includes('--quick');
process.env.DOCKER_BUILDKIT = '1';

interface Sample {
  built: number;
  total: number;
}
type Samples = Map<string, Map<string, Sample[]>>;

let turns = 0;
await using bench = await setUp('bench-build-', layoutWithCertificates);
const base = bench.image;
const contestants = await startContestants(base);
const results: Record<string, unknown> = {};
for (const scenario of scenariosFor(base, process.env, quick)) {
  const why = scenario.name === 'packages' ? await whyNoPackages() : undefined;
  if (why !== undefined) {
    console.log(`\n${scenario.title}: not run, no packages can be had here: ${why}`);
    continue;
  }
  results[scenario.name] = report(scenario, await runScenario(scenario, contestants), contestants);
}
await writeResults('build', { quick, ...results });

/** With the CA certificates of this machine: where an index is behind a proxy with its own, pip reaches it in everyone's steps. */
async function layoutWithCertificates(directory: string): Promise<string> {
  const { layout } = await baseImageLayout();
  const copy = join(directory, 'layout');
  await cp(layout.replace(/:[^:]*$/, ''), copy, { recursive: true });
  const bundle = '/etc/ssl/certs/ca-certificates.crt';
  await run('umoci', ['insert', '--image', `${copy}:python`, bundle, bundle], { timeoutMs: 60_000 });
  return `${copy}:python`;
}

async function startContestants(base: string): Promise<BuildContestant[]> {
  const workspace = join(bench.directory, 'work');
  await mkdir(workspace);
  const darkroom = await startDarkroom({
    config: { log: { level: 'warn' }, quotas: { snapshots: 1000 }, pool: { maxBytes: 32 * 2 ** 30 } },
    env: { DARKROOM_LOG_LEVEL: 'warn' },
  });
  bench.atEnd(darkroom.destroy);
  const docker = await bench.docker();
  const podman = await startPodman();
  bench.atEnd(podman.close);
  const ready: BuildContestant[] = [];
  for (const contestant of [
    darkroomContestant(darkroom, workspace),
    dockerContestant(docker, workspace),
    buildahContestant(podman, workspace),
  ]) {
    try {
      await contestant.build('warm-up', `FROM ${base}\nRUN true\n`, undefined);
      await contestant.toFirstOutput('warm-up');
      ready.push(contestant);
    } catch (error) {
      if (contestant.name === 'Darkroom') throw error;
      console.error(`${contestant.name} does not run here: ${error instanceof Error ? error.message : error}`);
    }
  }
  return ready;
}

/** All take turns with each build, so that a slower minute of the machine meets each of them. */
async function runScenario(scenario: BuildScenario, contestants: readonly BuildContestant[]): Promise<Samples> {
  const samples: Samples = new Map();
  const began = performance.now();
  for (let index = 0; index < scenario.runs; index++) {
    const soFar = performance.now() - began;
    if (index > 0 && soFar + soFar / index > scenario.budgetMs) break;
    await oneRun(scenario, `${scenario.name}-${index}`, contestants, samples);
  }
  return samples;
}

async function oneRun(
  scenario: BuildScenario,
  tag: string,
  contestants: readonly BuildContestant[],
  samples: Samples,
): Promise<void> {
  const context = scenario.contextBytes === 0 ? undefined : await newContext(scenario.contextBytes);
  const mark = () => crypto.randomUUID().slice(0, 8);
  const build = async (phase: string, marks: { first: string; last: string }, isNewContext = false) => {
    // Who comes first may have to wait for a mirror that has it from then on.
    const order = [
      ...contestants.slice(turns % contestants.length),
      ...contestants.slice(0, turns % contestants.length),
    ];
    turns += 1;
    for (const [index, contestant] of order.entries()) {
      const name = `${tag}-${index}-${mark()}`;
      await run('sync', [], { timeoutMs: 300_000 });
      const started = performance.now();
      if (isNewContext && context !== undefined) await contestant.sendContext(context);
      await contestant.build(name, scenario.dockerfile(marks), context);
      const built = performance.now() - started;
      const total = built + (await contestant.toFirstOutput(name));
      const ofPhase = samples.get(phase) ?? new Map<string, Sample[]>();
      samples.set(phase, ofPhase);
      ofPhase.set(contestant.name, [...(ofPhase.get(contestant.name) ?? []), { built, total }]);
    }
  };
  if (context !== undefined) await build('cold, and the context sent', { first: mark(), last: mark() }, true);
  const [first, last] = [mark(), mark()];
  await build(context === undefined ? 'cold' : 'cold, the context sent before', { first, last });
  await build('all cached', { first, last });
  await build('last step changed', { first, last: mark() });
}

/** Its first bytes differ each time, so that nobody has it already. */
async function newContext(bytes: number): Promise<string> {
  const context = join(bench.directory, 'context');
  await mkdir(context, { recursive: true });
  const file = join(context, 'big');
  await run('sh', ['-c', `[ -e "$0" ] || head -c ${bytes} /dev/urandom > "$0"`, file], { timeoutMs: 300_000 });
  const big = await open(file, 'r+');
  await big.write(crypto.randomUUID(), 0);
  await big.close();
  return context;
}

function report(scenario: BuildScenario, samples: Samples, contestants: readonly BuildContestant[]) {
  const [ours, ...peers] = contestants.map(({ name }) => name);
  const summaries = [...samples].map(([phase, ofPhase]) => {
    const of = (name: string | undefined, what: keyof Sample): Summary =>
      summarize((ofPhase.get(name ?? '') ?? []).map((sample) => sample[what]));
    return { phase, of };
  });
  for (const [what, title] of [
    ['built', 'until the image is there'],
    ['total', 'until the first output'],
  ] as const) {
    const runs = summaries[0]?.of(ours, what).runs ?? 0;
    printTable(`${scenario.title}, ${title}, p50 of ${runs}`, [
      ['', 'Darkroom', ...peers.flatMap((name) => [name, 'Darkroom / this'])],
      ...summaries.map(({ phase, of }) => {
        const mine = of(ours, what).p50;
        return [phase, ms(mine), ...peers.flatMap((name) => [ms(of(name, what).p50), ratio(mine, of(name, what).p50)])];
      }),
    ]);
  }
  return Object.fromEntries(
    summaries.map(({ phase, of }) => [
      phase,
      Object.fromEntries(contestants.map(({ name }) => [name, { built: of(name, 'built'), total: of(name, 'total') }])),
    ]),
  );
}
