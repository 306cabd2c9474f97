import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';

export interface Summary {
  runs: number;
  p50: number;
  p95: number;
  min: number;
  max: number;
}

/** Milliseconds in, milliseconds out. */
export function summarize(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
  return { runs: sorted.length, p50: at(0.5), p95: at(0.95), min: at(0), max: at(1) };
}

export const ms = (value: number) => `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ms`;
export const ratio = (ours: number, theirs: number) => `${(ours / theirs).toFixed(3)}`;

/** Aligned columns; the first row is the head. */
export function printTable(title: string, rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  console.log(`\n${title}`);
  rows.forEach((row, index) => {
    console.log(
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`,
    );
    if (index === 0) console.log(`  ${widths.map((width) => '-'.repeat(width)).join('  ')}`);
  });
}

/** `bench/results/NAME.json`, beside the table on the screen. */
export async function writeResults(name: string, results: unknown): Promise<void> {
  const directory = join(import.meta.dirname, '..', 'results');
  await mkdir(directory, { recursive: true });
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
  const file = join(directory, `${name}.json`);
  await writeFile(file, `${JSON.stringify({ machine, at: new Date().toISOString(), ...Object(results) }, null, 2)}\n`);
  console.log(`\n  ${file}`);
}

/** Runs `work` `count` times one after the other and gives each one's milliseconds. */
export async function measure(count: number, work: (index: number) => Promise<void>): Promise<number[]> {
  const samples: number[] = [];
  for (let index = 0; index < count; index++) {
    const started = performance.now();
    await work(index);
    samples.push(performance.now() - started);
  }
  return samples;
}

/** So many samples of each contestant, by its name. All take turns, so that a slower minute of the machine meets each of them. */
export async function takeTurns(
  contestants: Readonly<Record<string, () => Promise<number>>>,
  { runs, warmUp }: { runs: number; warmUp: number },
): Promise<(name: string) => Summary> {
  const samples: Record<string, number[]> = {};
  for (let index = 0; index < runs + warmUp; index++) {
    for (const [name, once] of Object.entries(contestants)) {
      const sample = await once();
      if (index >= warmUp) samples[name] = [...(samples[name] ?? []), sample];
    }
  }
  return (name) => summarize(samples[name] ?? []);
}
