/**
 * `npm run torture -- --cycles N [--seed S] [--clients N] [--report FILE]`: kills a server again and again while clients use it, and checks what
 * it promised them. `--failpoints [--at BEGINNING,...]`: kills it once at each named place instead.
 * `--hostile`: a full and a slow disk, the database gone, the clock set.
 */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { renderReport } from '../test/torture/report.ts';
import { runTorture } from '../test/torture/run-torture.ts';

const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    clients: { type: 'string', default: '5' },
    report: { type: 'string' },
    failpoints: { type: 'boolean', default: false },
    at: { type: 'string', default: 'all' },
    hostile: { type: 'boolean', default: false },
  },
});
if (values.failpoints) {
  const test = ['vitest', 'run', '--project', 'e2e', 'test/torture/failpoints.test.ts'];
  const command = ['--mount', '--propagation', 'slave', 'npx', ...test];
  const { status } = spawnSync('unshare', command, {
    stdio: 'inherit',
    env: { ...process.env, TORTURE_FAILPOINTS: values.at },
  });
  process.exit(status ?? 1);
}
if (values.hostile) {
  const test = ['vitest', 'run', '--project', 'e2e', 'test/torture/hostile'];
  const { status } = spawnSync('unshare', ['--mount', '--propagation', 'slave', 'npx', ...test], {
    stdio: 'inherit',
    env: { ...process.env, TORTURE_HOSTILE: 'all' },
  });
  process.exit(status ?? 1);
}
const { seed } = values;
const [cycles, clients] = [Number(values.cycles), Number(values.clients)];
if (!Number.isInteger(cycles) || cycles < 1 || !Number.isInteger(clients) || clients < 1) {
  throw new Error('--cycles and --clients are whole numbers above 0');
}
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    console.log(`${name}: ending, and cleaning up`);
    stop.abort();
  });
}
console.log(`seed ${seed}, ${cycles} cycles, ${clients} clients`);
const { report, kept, log, output } = await runTorture({
  seed,
  cycles,
  clients,
  signal: stop.signal,
  say: console.log,
});
const text = renderReport(report);
console.log(text);
if (values.report !== undefined) await writeFile(values.report, text);
if (report.violations.length > 0) process.exitCode = 1;
if (kept !== undefined) {
  await writeFile(`${kept}.log`, log);
  await writeFile(`${kept}.server.log`, output);
  console.error(
    `What was asked and answered is in ${kept}.log, the state directory is ${kept}. Run it again: --seed ${seed} --cycles ${report.cycles}`,
  );
}
