import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../packages/server/src/platform/process.ts';
import { BASE_IMAGE } from '../scripts/base-image.ts';
import { startDarkroom } from '../test/support/darkroom.ts';
import { makeSnapshot } from './lib/darkroom.ts';
import { paddedImage } from './lib/images.ts';
import { startDocker } from './lib/peers.ts';
import { ms, printTable, ratio, summarize, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/**
 * Pull and unpack from a registry on this machine, nothing cached: a snapshot until it is `active` against `docker pull`, and
 * against `skopeo copy` + `umoci unpack`. Everyone writes to the same disk.
 */
const RUNS = Number(process.env.BENCH_RUNS ?? 5);
const PADDED = 'padded:500mb';

await using bench = await setUp('bench-pull-');
await bench.registry.push(await paddedImage(500, 5000), `library/${PADDED}`);
const docker = await startDocker();
bench.atEnd(docker.close);

const results: Record<string, Record<string, ReturnType<typeof summarize>>> = {};
for (const image of [BASE_IMAGE, PADDED]) {
  const samples: Record<string, number[]> = { darkroom: [], docker: [], 'skopeo + umoci': [] };
  const timed = async (who: string, work: () => Promise<unknown>) => {
    await run('sync', [], { timeoutMs: 120_000 });
    const started = performance.now();
    await work();
    samples[who]?.push(performance.now() - started);
  };
  // One of each in turn, so that a slower minute of the machine meets all.
  for (let index = 0; index < RUNS; index++) {
    const darkroom = await startDarkroom({
      config: { registries: { mirrors: { 'docker.io': [bench.registry.url] } } },
      env: { DARKROOM_LOG_LEVEL: 'warn' },
    });
    try {
      await timed('darkroom', () => makeSnapshot(darkroom, 'it', image));
    } finally {
      await darkroom.destroy();
    }
    const reference = `${bench.registry.host}/library/${image}`;
    await timed('docker', () => docker.docker('pull', '--quiet', reference));
    await docker.docker('image', 'rm', reference);
    const target = join(bench.directory, `unpacked-${index}`);
    await mkdir(target);
    await timed('skopeo + umoci', async () => {
      await run(
        'skopeo',
        ['copy', '--quiet', '--src-tls-verify=false', `docker://${reference}`, `oci:${target}/oci:x`],
        { timeoutMs: 600_000 },
      );
      await run('umoci', ['unpack', '--image', `${target}/oci:x`, `${target}/bundle`], { timeoutMs: 600_000 });
    });
    await rm(target, { recursive: true, force: true });
  }
  const of = (who: string) => summarize(samples[who] ?? []);
  const ours = of('darkroom');
  printTable(`Pull and unpack ${image}, ${RUNS} runs, cold`, [
    ['', 'p50', 'max', 'Darkroom / this'],
    ...Object.keys(samples).map((who) => [who, ms(of(who).p50), ms(of(who).max), ratio(ours.p50, of(who).p50)]),
  ]);
  results[image] = Object.fromEntries(Object.keys(samples).map((who) => [who, of(who)]));
}
await writeResults('pull', results);
