import { createSandbox, deleteSandbox, execute, post } from './lib/darkroom.ts';
import { ms, printTable, ratio, summarize, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/** A capture of a sandbox of a capture of a sandbox, so many levels deep: how long the capture takes, and the start of a sandbox from it. */
const LEVELS = Number(process.env.BENCH_LEVELS ?? 60);
const RUNS = Number(process.env.BENCH_RUNS ?? 15);

await using bench = await setUp('bench-depth-');
const darkroom = await bench.darkroom('level-0');

const captures: number[] = [];
for (let level = 1; level <= LEVELS; level++) {
  const { id } = await createSandbox(darkroom, `level-${level - 1}`);
  await execute(darkroom, id, `head -c 1000000 /dev/urandom > /root/level-${level}`);
  captures.push(await timed(() => post(darkroom, `/api/sandbox/${id}/snapshot`, { name: `level-${level}` })));
  await deleteSandbox(darkroom, id);
}

const starts = [1, LEVELS].map((level) => ({ level, samples: [] as number[] }));
for (let index = 0; index < RUNS; index++) {
  for (const { level, samples } of starts) {
    let id = '';
    samples.push(
      await timed(async () => {
        ({ id } = await createSandbox(darkroom, `level-${level}`));
        await execute(darkroom, id, 'true');
      }),
    );
    const there = await execute(darkroom, id, 'ls /root | wc -l');
    if (Number(there) !== level) throw new Error(`level ${level} has ${there} files`);
    await deleteSandbox(darkroom, id);
  }
}
const [shallow, deep] = starts.map(({ samples }) => summarize(samples));
if (shallow === undefined || deep === undefined) throw new Error('nothing was measured');
const [first, last] = [captures.slice(0, 10), captures.slice(-10)].map(summarize);
printTable(`Captures of captures, p50 (start: ${RUNS} runs, to the end of the first command)`, [
  ['', 'level 1', `level ${LEVELS}`, 'ratio'],
  ['start', ms(shallow.p50), ms(deep.p50), ratio(deep.p50, shallow.p50)],
  [
    'capture of 1 MB, first and last ten',
    ms(first?.p50 ?? 0),
    ms(last?.p50 ?? 0),
    ratio(last?.p50 ?? 0, first?.p50 ?? 1),
  ],
]);
await writeResults('depth', { levels: LEVELS, shallow, deep, captures: { first, last } });

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
