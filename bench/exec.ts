import { createSandbox, deleteSandbox, execute, post } from './lib/darkroom.ts';
import { ms, printTable, ratio, type Summary, takeTurns, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';

/** The round trip of a small command in what runs already: over HTTP, by itself and in a session, against the peers' `exec`. */
const RUNS = Number(process.env.BENCH_RUNS ?? 100);
const WARM_UP = 10;
const COMMAND = 'echo hi';
const EXTERNAL = '/bin/echo hi';
const SESSION = 'bench';

await using bench = await setUp('bench-exec-');
const darkroom = await bench.darkroom('small');
const { id } = await createSandbox(darkroom, 'small');
bench.atEnd(() => deleteSandbox(darkroom, id));
await post(darkroom, `/toolbox/${id}/process/session`, { sessionId: SESSION });

const { image } = bench;
const docker = await bench.docker();
await docker.docker('run', '--detach', '--name', 'bench', image, 'sleep', '3600');
bench.atEnd(() => docker.docker('rm', '--force', 'bench'));
const podman = await bench.podmanIfItRuns(async (it) => {
  await it.docker('run', '--detach', '--name', 'bench', image, 'sleep', '3600');
  await it.toFirstOutput('exec', 'bench', 'sh', '-c', COMMAND);
});

const inSession = (command: string) =>
  timed(async () => {
    const answer = await post(darkroom, `/toolbox/${id}/process/session/${SESSION}/exec`, { command });
    return JSON.parse(answer).stdout;
  });
const contestants: Record<string, () => Promise<number>> = {
  session: () => inSession(COMMAND),
  sessionExternal: () => inSession(EXTERNAL),
  execute: () => timed(() => execute(darkroom, id, COMMAND)),
  docker: () => docker.toFirstOutput('exec', 'bench', 'sh', '-c', COMMAND),
  ...(podman && { podman: () => podman.toFirstOutput('exec', 'bench', 'sh', '-c', COMMAND) }),
};
const of = await takeTurns(contestants, { runs: RUNS, warmUp: WARM_UP });
const results = { session: of('session'), sessionExternal: of('sessionExternal'), execute: of('execute') };
const peers = { dockerExec: of('docker'), podmanExec: podman && of('podman') };
const row = (name: string, it: Summary | undefined): string[] =>
  it === undefined
    ? [name, 'not run', '', '', '']
    : [
        name,
        ms(it.p50),
        ms(it.p95),
        ratio(it.p50, peers.dockerExec.p50),
        peers.podmanExec === undefined ? '' : ratio(it.p50, peers.podmanExec.p50),
      ];
printTable(`Round trip of a small command, ${RUNS} runs`, [
  ['', 'p50', 'p95', 'p50 / docker exec', 'p50 / podman exec'],
  row('session, the shell itself', results.session),
  row('session, a program', results.sessionExternal),
  row('process/execute', results.execute),
  row('docker exec', peers.dockerExec),
  row('podman exec', peers.podmanExec),
]);
await writeResults('exec', { ...results, ...peers });

async function timed(command: () => Promise<string>): Promise<number> {
  const started = performance.now();
  if ((await command()).trim() !== 'hi') throw new Error('the command did not say hi');
  return performance.now() - started;
}
