import { expect, test } from 'vitest';
import { runTorture } from './run-torture.ts';

/** As many as there is time for in every run of the tests; `npm run torture` goes on for as long as one likes. */
const CYCLES = 20;
const SEED = 'ci';

test(`what was promised holds over ${CYCLES} kills`, async () => {
  const { report, log, output } = await runTorture({
    seed: SEED,
    cycles: CYCLES,
    keepsState: false,
    waitsForJobs: false,
  });
  const story = report.violations.length === 0 ? '' : `${log}\n${output}`.slice(-100_000);
  expect(report.violations, story).toEqual([]);
  expect(report.cycles).toBe(CYCLES);
}, 600_000);
