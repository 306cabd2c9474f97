import { readFile } from 'node:fs/promises';
import { createSandbox, execute } from './lib/darkroom.ts';
import { ms, printTable, ratio, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/**
 * Idle sandboxes on one machine: what each costs in memory, everything counted (the kernel's own and the server's too), against
 * `docker run -d` of the same image, and how many would fit.
 */
const SANDBOXES = Number(process.env.BENCH_SANDBOXES ?? 500);
const CONTAINERS = Number(process.env.BENCH_CONTAINERS ?? 100);
const CLIENTS = 8;

await using bench = await setUp('bench-density-');
const { image } = bench;
const docker = await bench.docker();
const container = async () => void (await docker.docker('run', '-d', image, 'sleep', 'infinity'));
await container();
const theirs = await fill(CONTAINERS, container);
const containers = (await docker.docker('ps', '--quiet')).split('\n');
await docker.docker('rm', '--force', ...containers);

const darkroom = await bench.darkroom('idle');
const ids: string[] = [];
const sandbox = async () => void ids.push((await createSandbox(darkroom, 'idle')).id);
await sandbox();
const ours = await fill(SANDBOXES, sandbox);
// All of them still answer.
for (const id of ids) {
  if ((await execute(darkroom, id, 'echo here')).trim() !== 'here') throw new Error(`sandbox ${id} does not answer`);
}

const total = (await memory()).total;
const room = (each: number) => String(Math.floor((total * 0.9) / each));
printTable('Idle sandboxes', [
  ['', 'started', 'memory of each', 'time of each', 'would fit'],
  ['Darkroom', String(SANDBOXES), kib(ours.bytesEach), ms(ours.msEach), room(ours.bytesEach)],
  ['docker run -d', String(CONTAINERS), kib(theirs.bytesEach), ms(theirs.msEach), room(theirs.bytesEach)],
  ['ratio', '', ratio(ours.bytesEach, theirs.bytesEach), ratio(ours.msEach, theirs.msEach), ''],
]);
await writeResults('density', { sandboxes: SANDBOXES, ours, containers: CONTAINERS, theirs, totalBytes: total });

/** Makes `count` with a few clients at once; what that took of the machine's memory and time for each. */
async function fill(count: number, make: () => Promise<void>): Promise<{ bytesEach: number; msEach: number }> {
  const before = (await memory()).available;
  const started = performance.now();
  let left = count;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (left-- > 0) await make();
    }),
  );
  const msEach = (performance.now() - started) / count;
  return { bytesEach: (before - (await memory()).available) / count, msEach };
}

async function memory(): Promise<{ total: number; available: number }> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]) * 1024;
  return { total: bytes('MemTotal'), available: bytes('MemAvailable') };
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(0)} KiB`;
}
