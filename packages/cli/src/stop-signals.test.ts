import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';

vi.setConfig({ testTimeout: 30_000 });

/** A process that drains for ever after the first signal, and says what it saw. */
function draining() {
  const program = `
    const { untilStopSignal } = await import(process.argv[1]);
    setInterval(() => {}, 1000);
    setTimeout(() => console.log('ready'));
    console.log(await untilStopSignal());`;
  const module = fileURLToPath(new URL('./stop-signals.ts', import.meta.url));
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, module], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return { child, closed: once(child, 'close') };
}

test('the first signal asks for the end; another, when it was not the same wish twice, does not wait', async () => {
  const { child, closed } = draining();
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  const [chunk] = await once(child.stdout, 'data');
  expect(String(chunk)).toBe('SIGTERM\n');
  const again = setInterval(() => child.kill('SIGINT'), 50);
  const [code] = await closed;
  clearInterval(again);
  expect(code).toBe(1);
});
