import type { Darkroom } from '../test/support/darkroom.ts';
import { descriptorKinds, type Footprint, footprintOf } from './lib/footprint.ts';
import { printTable, writeResults } from './lib/report.ts';
import { setUp } from './lib/set-up.ts';
import { createUses } from './lib/uses.ts';

/**
 * Many sandboxes created, used in every way and deleted by several clients (the official SDK); what the server has of the
 * machine must be the same at the end as after the warm-up. Exits with 1 when it is not, or when a use failed.
 */
const SANDBOXES = Number(process.env.SOAK_SANDBOXES ?? 500);
const CLIENTS = Number(process.env.SOAK_CLIENTS ?? 20);
const WARM_UP = Number(process.env.SOAK_WARM_UP ?? 100);
/** What may differ between two quiet moments of a server that leaks nothing. */
const ALLOWED: Record<keyof Footprint, number> = {
  resident: 60,
  descriptors: 8,
  threads: 4,
  processes: 2,
  mounts: 2,
  interfaces: 2,
  loopDevices: 2,
  cgroups: 0,
  pool: 64,
  leftFiles: 8,
  machineMemory: 400,
};

await using bench = await setUp('soak-');
const darkroom = await bench.darkroom('soak', { ssh: { listen: '127.0.0.1:0' } });
const uses = createUses(darkroom, 'soak');

const failures: string[] = [];
async function rounds(count: number): Promise<number> {
  const started = performance.now();
  let left = count;
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      for (let turn = 0; left-- > 0; turn++) {
        await uses.liveOne(client + turn * CLIENTS).catch((error: unknown) => {
          failures.push(error instanceof Error ? error.message : String(error));
        });
      }
    }),
  );
  return (performance.now() - started) / 1000;
}

await rounds(WARM_UP);
const before = await quiet(darkroom);
const kindsBefore = await descriptorKinds(darkroom.pid);
const seconds = await rounds(SANDBOXES);
const after = await quiet(darkroom);

const keys: (keyof Footprint)[] = Object.keys(before).filter((key): key is keyof Footprint => key in ALLOWED);
const grown = keys.filter((key) => after[key] - before[key] > ALLOWED[key]);
printTable(`${SANDBOXES} sandboxes by ${CLIENTS} clients in ${seconds.toFixed(0)} s`, [
  ['', 'before', 'after', 'may grow by', ''],
  ...keys.map((key) => [
    key,
    String(before[key]),
    String(after[key]),
    String(ALLOWED[key]),
    grown.includes(key) ? 'GREW' : 'flat',
  ]),
]);
console.log(`\n  uses: ${JSON.stringify(uses.counts())}`);
for (const failure of failures.slice(0, 20)) console.error(`  failed: ${failure}`);
if (grown.includes('descriptors')) console.error({ kindsBefore, kindsAfter: await descriptorKinds(darkroom.pid) });
await writeResults('soak', { sandboxes: SANDBOXES, clients: CLIENTS, seconds, before, after, uses: uses.counts() });
if (grown.length > 0 || failures.length > 0) process.exitCode = 1;

/** The footprint when deletes have been carried out, layers of deleted captures are swept, and the stocks are full again. */
async function quiet(darkroom: Darkroom): Promise<Footprint> {
  let last = await footprintOf(darkroom);
  for (let same = 0, tries = 0; same < 3 && tries < 60; tries++) {
    // More than once: what is written down of captured layers in the background holds them until it is done.
    const swept = await darkroom.api('/admin/gc', { method: 'POST', body: { withoutGrace: true } });
    if (swept.status >= 300) throw new Error(`garbage was not collected: ${await swept.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const now = await footprintOf(darkroom);
    const still = (['descriptors', 'processes', 'mounts', 'interfaces', 'leftFiles'] as const).every(
      (key) => now[key] === last[key],
    );
    same = still ? same + 1 : 0;
    last = now;
  }
  return last;
}
