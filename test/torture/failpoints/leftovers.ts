import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { withDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { litterOf } from '../../support/litter.ts';
import { checkDatabase } from '../check-database.ts';
import { checkLitter } from '../check-litter.ts';
import { Violation } from '../requests.ts';
import { READY } from '../world.ts';
import { isGone, post, removeSandbox } from './asks.ts';
import type { World } from './world.ts';

/** Takes away all that operations made. */
export async function clear(world: World): Promise<void> {
  const { requests } = world;
  const { items: sandboxes }: { items: { id: string }[] } = (await requests.api('/sandbox?limit=100')).json();
  for (const { id } of sandboxes) await removeSandbox(world, id);
  for (const { id } of sandboxes) await isGone(world, 'sandbox', id);
  const { items: snapshots }: { items: { id: string; name: string }[] } = (
    await requests.api('/snapshots?limit=100')
  ).json();
  const made = snapshots.filter(({ name }) => name !== world.base);
  for (const { id } of made) await requests.api(`/snapshots/${id}`, { method: 'DELETE', expect: [200, 404] });
  for (const { id } of made) await isGone(world, 'snapshots', id);
  await requests.api('/admin/gc', { method: 'POST', body: { withoutGrace: true } });
}

/** Nothing is left of what was taken away, nor of servers that were killed. */
export async function expectNothingLeft({ darkroom: { stateDir, pid } }: World): Promise<void> {
  const nothing: ReadonlySet<string> = new Set();
  const litter = await checkLitter({ stateDir, pid, sandboxes: nothing, running: nothing, ...READY });
  const rows = await checkDatabase(stateDir, { allDone: true });
  const contained = (await litterOf(stateDir)).contained.map((process) => `process ${process}`);
  const found = [...litter, ...rows, ...contained, ...(await leftOfBuilds(stateDir))];
  if (found.length > 0) throw new Violation(`something is left over:\n${found.join('\n')}`);
}

async function leftOfBuilds(stateDir: string): Promise<string[]> {
  const logs = (await readdir(join(stateDir, 'build-logs'))).map((name) => `log ${name}`);
  const rows = await withDatabase(stateDir, (client) => client.query<{ id: string }>('select id from builds'));
  return [...logs, ...rows.rows.map(({ id }) => `build ${id}`)];
}

/** The snapshot that sandboxes are of. */
export async function makeBase(world: World): Promise<void> {
  await post(world, '/snapshots', { name: world.base, imageName: world.baseImage });
  await eventually('the base is there', async () => {
    const { state } = (await world.requests.api(`/snapshots/${world.base}`)).json();
    return state === 'active' ? true : undefined;
  });
}
