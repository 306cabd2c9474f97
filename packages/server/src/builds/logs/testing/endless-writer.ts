import { pino } from 'pino';
import { createBuildLogs } from '../build-logs.ts';

/** Writes a build's log until somebody kills it. */
const [directory = '', buildId = ''] = process.argv.slice(2);
const logs = await createBuildLogs({ directory, log: pino({ level: 'silent' }) });
const writer = await logs.open(buildId, { maxBytes: 1e9 });
for (let index = 0; ; index += 1) {
  writer.write({ step: 1, stream: 'stdout', text: `${index} ${'x'.repeat(index % 500)}` });
  if (index % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
}
