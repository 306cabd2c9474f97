import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../packages/server/src/platform/process.ts';
import { createSandbox, execute } from './lib/darkroom.ts';
import { downloadMany, downloadOne, uploadMany, uploadOne } from './lib/files.ts';
import { ms, printTable, ratio, summarize, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/**
 * Files in and out of a sandbox over HTTP against `docker cp` of the same: one of a gigabyte and 10,000 of a kilobyte; and what
 * the server takes of memory for it. Everyone reads and writes on the same disk.
 */
const RUNS = Number(process.env.BENCH_RUNS ?? 3);
const MIB = 1024 * 1024;
const LARGE = Number(process.env.BENCH_MIB ?? 1024) * MIB;
const MANY = 10_000;

await using bench = await setUp('bench-files-');
const darkroom = await bench.darkroom('it');
const { id } = await createSandbox(darkroom, 'it');
const docker = await bench.docker();
const container = await docker.docker('run', '-d', bench.image, 'sleep', '100000');
bench.atEnd(() => docker.docker('rm', '--force', container));

const large = join(bench.directory, 'large');
await run('sh', ['-c', `head -c ${LARGE} /dev/urandom > "$0"`, large], { timeoutMs: 300_000 });
const many = new Map(
  Array.from({ length: MANY }, (_, index) => [`file-${index}`, Buffer.alloc(1024, `${index} `)] as const),
);
const manyDirectory = join(bench.directory, 'many');
await mkdir(manyDirectory);
for (const [name, content] of many) await writeFile(join(manyDirectory, name), content);
const paths = [...many.keys()].map((name) => `/many/${name}`);

const back = join(bench.directory, 'back');
const contestants = {
  'upload 1 file': {
    darkroom: () => uploadOne(darkroom, id, large, '/large'),
    docker: () => docker.docker('cp', large, `${container}:/large`),
  },
  'download 1 file': {
    darkroom: () => downloadOne(darkroom, id, '/large', join(back, 'darkroom')),
    docker: () => docker.docker('cp', `${container}:/large`, join(back, 'docker')),
  },
  'upload 10,000 files': {
    darkroom: () => uploadMany(darkroom, id, many, '/many'),
    docker: () => docker.docker('cp', manyDirectory, `${container}:/many`),
  },
  'download 10,000 files': {
    darkroom: () => downloadMany(darkroom, id, paths, join(back, 'darkroom-many')),
    docker: () => docker.docker('cp', `${container}:/many`, join(back, 'docker-many')),
  },
} as const;

const before = await residentMiB();
const samples: Record<string, { darkroom: number[]; docker: number[]; peakMiB: number }> = {};
for (let index = 0; index < RUNS; index++) {
  await rm(back, { recursive: true, force: true });
  await mkdir(back);
  for (const [name, { darkroom: ours, docker: theirs }] of Object.entries(contestants)) {
    samples[name] ??= { darkroom: [], docker: [], peakMiB: 0 };
    const of = samples[name];
    await forgetPeak();
    of.darkroom.push(await timed(ours));
    of.peakMiB = Math.max(of.peakMiB, await residentMiB('VmHWM'));
    of.docker.push(await timed(theirs));
  }
  // What went up is what there is.
  const sums = await execute(darkroom, id, 'md5sum < /large; ls /many | wc -l; rm -rf /large /many');
  const { stdout } = await run('sh', ['-c', 'md5sum < "$0"', large], { timeoutMs: 120_000 });
  if (sums !== `${stdout}${MANY}\n`) throw new Error(`the sandbox has ${sums} in place of ${stdout}`);
  await docker.docker('exec', container, 'rm', '-rf', '/large', '/many');
}

const results = Object.entries(samples).map(([name, { darkroom: ours, docker: theirs, peakMiB }]) => {
  const [us, them] = [summarize(ours), summarize(theirs)];
  const rate = (time: number) =>
    name.endsWith('1 file')
      ? `${((LARGE / MIB / time) * 1000).toFixed(0)} MiB/s`
      : `${((MANY / time) * 1000).toFixed(0)} files/s`;
  return { name, darkroom: us, docker: them, peakMiB, rate: rate(us.p50), dockerRate: rate(them.p50) };
});
printTable(`Files, ${RUNS} runs, one file of ${LARGE / MIB} MiB; the server had ${before} MiB before`, [
  ['', 'Darkroom p50', '', 'docker cp p50', '', 'Darkroom / docker', 'server peak'],
  ...results.map(({ name, darkroom: us, docker: them, peakMiB, rate, dockerRate }) => [
    name,
    ms(us.p50),
    rate,
    ms(them.p50),
    dockerRate,
    ratio(us.p50, them.p50),
    `${peakMiB} MiB`,
  ]),
]);
await writeResults('files', { runs: RUNS, largeMiB: LARGE / MIB, many: MANY, residentBeforeMiB: before, results });

/** After what was written before is on disk. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  await run('sync', [], { timeoutMs: 300_000 });
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function residentMiB(field = 'VmRSS'): Promise<number> {
  const status = await readFile(`/proc/${darkroom.pid}/status`, 'utf8');
  return Math.round(Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024);
}

async function forgetPeak(): Promise<void> {
  await writeFile(`/proc/${darkroom.pid}/clear_refs`, '5');
}
