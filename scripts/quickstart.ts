import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, styleText } from 'node:util';
import { type Credentials, credentialsSchema } from '@darkroom/contract';
import { detachPool } from '@darkroom/server/machine';
import { Daytona, DaytonaNotFoundError } from '@daytona/sdk';
import { BASE_IMAGE, baseImageLayout } from './base-image.ts';
import { type LocalRegistry, startLocalRegistry } from './local-registry.ts';

/**
 * From nothing to code in a sandbox, each step with its time, through the official Daytona SDK. In a terminal the server stays up
 * afterwards until Ctrl-C; otherwise (or with --exit) it ends. What was made stays in the cache, so a second run is quick.
 */
const { values: flags } = parseArgs({ options: { exit: { type: 'boolean' }, keep: { type: 'boolean' } } });
const stayUp = flags.keep === true || (flags.exit !== true && process.stdout.isTTY);

const checkout = join(import.meta.dirname, '..');
const home = join(checkout, '.cache', 'quickstart');
const stateDir = join(home, 'state');
const configFile = join(home, 'darkroom.yml');
const SNAPSHOT = 'default';
const CODE = 'import platform\nprint("Hello from Python", platform.python_version(), "in a sandbox")';

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  process.stdout.write(`  ${what} `);
  try {
    const result = await work();
    const ms = performance.now() - started;
    const time = ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
    process.stdout.write(`${'.'.repeat(Math.max(2, 60 - what.length))} ${styleText('bold', time.padStart(9))}\n`);
    return result;
  } catch (error) {
    process.stdout.write(`${styleText('red', 'failed')}\n`);
    throw error;
  }
}

async function publicRegistryAnswers(): Promise<boolean> {
  const answer = await fetch('https://registry-1.docker.io/v2/', { signal: AbortSignal.timeout(3_000) }).catch(
    () => undefined,
  );
  return answer?.status === 401 || answer?.status === 200;
}

async function startServer(): Promise<{ child: ChildProcess; credentials: Credentials; ended: Promise<void> }> {
  const args = ['up', '--state-dir', stateDir, '--listen', '127.0.0.1:0', '--config', configFile];
  const child = spawn(process.execPath, [join(checkout, 'bin', 'darkroom'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DARKROOM_LOG_LEVEL: 'warn' },
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let output = '';
  await new Promise<void>((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`the server did not start within 60 s:\n${output}`)), 60_000);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => {
        output += text.toString();
        if (/^Listening on +http/m.test(output)) resolve();
      });
    }
    child.once('exit', () => reject(new Error(`the server ended at start:\n${output}`)));
    child.once('exit', () => clearTimeout(limit));
    child.once('error', reject);
  });
  const credentials = credentialsSchema.parse(JSON.parse(await readFile(join(stateDir, 'credentials.json'), 'utf8')));
  return { child, credentials, ended };
}

async function main(): Promise<void> {
  const started = performance.now();
  await mkdir(home, { recursive: true, mode: 0o700 });
  console.log(styleText('bold', '\nDarkroom quickstart\n'));

  let registry: LocalRegistry | undefined;
  let server: Awaited<ReturnType<typeof startServer>> | undefined;
  try {
    const layoutIsCached = await readFile(join(home, 'registry', 'ready'), 'utf8').catch(() => undefined);
    const usePublic =
      layoutIsCached === undefined && (await step('look for the public image registry', publicRegistryAnswers));
    if (!usePublic) {
      if (layoutIsCached === undefined)
        console.log('    It cannot be reached from here: the image is made from Debian packages.');
      const { layout } = await step(`base image ${BASE_IMAGE} from Debian packages`, baseImageLayout);
      registry = await step('start a local registry (docker-registry)', () =>
        startLocalRegistry(join(home, 'registry')),
      );
      const { push } = registry;
      if (layoutIsCached !== layout) {
        await step('put the image into it', () => push(layout, `library/${BASE_IMAGE}`));
        await writeFile(join(home, 'registry', 'ready'), layout);
      }
    }
    const mirrors = registry === undefined ? {} : { 'docker.io': [registry.url] };
    await writeFile(configFile, JSON.stringify({ registries: { mirrors }, defaultSnapshot: SNAPSHOT }));

    server = await step('start Darkroom', startServer);
    const { credentials } = server;
    const daytona = new Daytona({ apiKey: credentials.apiKey, apiUrl: `${credentials.url}/api` });

    const there = await daytona.snapshot.get(SNAPSHOT).catch((error: unknown) => {
      if (error instanceof DaytonaNotFoundError) return undefined;
      throw error;
    });
    if (there?.state !== 'active') {
      if (there !== undefined) await daytona.snapshot.delete(there);
      await step(`create the snapshot «${SNAPSHOT}» from ${BASE_IMAGE}`, () =>
        daytona.snapshot.create({ name: SNAPSHOT, image: BASE_IMAGE }),
      );
    }
    const sandbox = await step('start a sandbox from it', () => daytona.create());
    const run = await step('run Python code in it', () => sandbox.process.codeRun(CODE));
    if (run.exitCode !== 0) throw new Error(`the code ended with ${run.exitCode}: ${run.result}`);
    console.log(styleText('green', `\n    ${run.result.trim()}\n`));
    await step('delete the sandbox', () => sandbox.delete(60, true));

    console.log(`\nAll in ${((performance.now() - started) / 1000).toFixed(1)} s. How to go on:\n`);
    console.log(`  URL    ${credentials.url}/api     (documentation: ${credentials.url}/docs)`);
    console.log(`  key    ${credentials.apiKey}     (kept in ${join(stateDir, 'credentials.json')})\n`);
    console.log(`  export DAYTONA_API_URL=${credentials.url}/api DAYTONA_API_KEY=${credentials.apiKey}`);
    console.log('  npm install @daytona/sdk      # or: pip install daytona\n');
    if (!stayUp) {
      console.log('The server ends now. Start it again with the same data:\n');
      console.log(`  bin/darkroom up --state-dir ${stateDir} --config ${configFile}\n`);
      return;
    }
    console.log('The server runs until Ctrl-C.');
    await Promise.race([
      server.ended,
      new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve)),
    ]);
  } finally {
    server?.child.kill('SIGTERM');
    await server?.ended;
    await registry?.close();
    // The pool's mount outlives a server, so that sandboxes can; here none is left.
    await detachPool(stateDir);
  }
}

await main().catch((error: unknown) => {
  console.error(
    `\n${styleText('red', 'The quickstart did not get through:')} ${error instanceof Error ? error.message : error}`,
  );
  console.error('`bin/darkroom doctor` says what this machine lacks.');
  process.exitCode = 1;
});
