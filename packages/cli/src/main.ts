import { runCommandLine } from './command-line.ts';
import { EXIT_FAILURE } from './report-error.ts';

// Whoever reads may stop before the end, as in `darkroom gc --dry-run | head`. A full disk under the output is another thing.
let isLost = false;
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    isLost ||= error.code !== 'EPIPE';
  });
}
process.once('beforeExit', () => {
  if (isLost) process.exitCode ||= EXIT_FAILURE;
});
process.exitCode = await runCommandLine(process.argv.slice(2), process.env);
