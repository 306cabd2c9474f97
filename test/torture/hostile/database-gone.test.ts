import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { type Darkroom, startDarkroom } from '../../support/darkroom.ts';
import { eventually } from '../../support/eventually.ts';
import { type ExternalPostgres, startExternalPostgres } from './external-postgres.ts';
import { EVERYTHING } from './how-much.ts';
import { addBase, underLoad } from './under-load.ts';

// A busy machine has the same to do.
vi.setConfig({ testTimeout: 300_000 });

/** The database dies, hangs and comes back while clients work. */
let darkroom: Darkroom;
const config = () => ({ registries: { mirrors: { 'docker.io': [inject('registryUrl')] } } });
const load = { image: '', mayAnswer: [503] };

/** Children of a process. */
async function childrenOf(parent: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found: number[] = [];
  for (const pid of pids) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    if (status.includes(`\nPPid:\t${parent}\n`)) found.push(pid);
  }
  return found;
}

async function backendsOf(parent: number): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await childrenOf(parent)) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (/postgres: darkroom /.test(command)) found.push(pid);
  }
  return found;
}

const isReady = async () => (await fetch(`${darkroom.url}/health/ready`)).status === 200;

describe('the embedded one', () => {
  beforeAll(async () => {
    load.image = inject('baseImage');
    darkroom = await startDarkroom({ config: config() });
    await addBase(darkroom, load.image);
  });
  afterAll(() => darkroom?.destroy());

  const postmaster = async () =>
    Number.parseInt(await readFile(join(darkroom.stateDir, 'postgres/postmaster.pid'), 'utf8'), 10);

  test('is killed, and one of its processes: the server starts it again, and nothing that was acknowledged is lost', async () => {
    await underLoad(darkroom, load, async () => {
      for (let times = 0; times < 2; times++) {
        const pid = await postmaster();
        process.kill(pid, 'SIGKILL');
        await eventually('another one runs', async () => {
          const now = await postmaster().catch(() => pid);
          return now !== pid && (await isReady()) ? true : undefined;
        });
        await delay(1_000);
      }
      // It ends all others then, and goes through its recovery.
      const [backend = -1] = await backendsOf(await postmaster());
      process.kill(backend, 'SIGKILL');
      await eventually('it is ready again', async () => ((await isReady()) ? true : undefined));
    });
    expect(darkroom.output()).toContain('the database ended by itself; starting it again');
  });

  test.runIf(EVERYTHING)(
    'stands still for twenty seconds: whoever asks waits or is sent away, and nobody loses the work that is his',
    async () => {
      await underLoad(darkroom, load, async () => {
        const pid = await postmaster();
        const stopped = [pid, ...(await childrenOf(pid))];
        for (const one of stopped) process.kill(one, 'SIGSTOP');
        try {
          await eventually('the server says so', async () => ((await isReady()) ? undefined : true));
          expect((await fetch(`${darkroom.url}/health`)).status).toBe(200);
          await delay(20_000);
        } finally {
          for (const one of stopped) process.kill(one, 'SIGCONT');
        }
      });
      expect(darkroom.output()).not.toContain('its server ended before it was done');
    },
  );
});

describe.runIf(EVERYTHING)('an external one', () => {
  let postgres: ExternalPostgres;
  beforeAll(async () => {
    load.image = inject('baseImage');
    postgres = await startExternalPostgres();
    darkroom = await startDarkroom({ config: config(), env: { DATABASE_URL: postgres.url } });
    await addBase(darkroom, load.image);
  });
  afterAll(async () => {
    await darkroom?.destroy();
    await postgres?.destroy();
  });

  test('is killed and started again', async () => {
    await underLoad(darkroom, load, async () => {
      await postgres.kill();
      await eventually('the server says so', async () => ((await isReady()) ? undefined : true));
      await delay(3_000);
      await postgres.start();
      await eventually('the server is ready again', async () => ((await isReady()) ? true : undefined));
    });
  });
});
