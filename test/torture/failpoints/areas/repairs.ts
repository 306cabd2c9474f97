import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Violation } from '../../requests.ts';
import { expectInSandboxOf, post, restsIn } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import { sha256, type World } from '../world.ts';

/** A damaged layer is fetched again, or it is there as it was: never is it missing for those that have it. */
const repair =
  (registryFails: boolean): Operation =>
  async (world, strike) => {
    const image = world.newImage();
    const first = world.newName('damaged');
    await post(world, '/snapshots', { name: first, imageName: image.reference });
    await restsIn(world, 'snapshots', first, 'active');
    await damage(world, image.sha256);
    // What was looked at within the hour is not looked at again by the same server.
    await world.darkroom.restart();
    if (registryFails) failOnce(world, image.layer);
    const second = world.newName('repaired');
    await strike(async () => {
      await post(world, '/snapshots', { name: second, imageName: image.reference });
      await restsIn(world, 'snapshots', second, 'active');
    });
    await restsIn(world, 'snapshots', second, 'active');
    for (const name of [first, second]) await expectInSandboxOf(world, name, { '/unique': image.sha256 });
  };

async function damage({ darkroom: { stateDir } }: World, hash: string): Promise<void> {
  const layers = join(stateDir, 'pool', 'layers', 'layers');
  for (const number of await readdir(layers)) {
    const file = join(layers, number, 'diff', 'unique');
    if (!existsSync(file) || sha256(await readFile(file)) !== hash) continue;
    await writeFile(file, 'damaged');
    return;
  }
  throw new Violation('the layer of the image is not there');
}

/** The layer is not there the next time that it is asked for. */
function failOnce({ registry }: World, layer: string): void {
  registry.script = (request, response) => {
    if (request.url?.includes(`/blobs/${layer}`) !== true) return undefined;
    registry.script = undefined;
    response.writeHead(404).end();
    return true;
  };
}

export const repairs = {
  'repair.unindexed': repair(false),
  'repair.set-aside': repair(false),
  'repair.fetched': repair(false),
  'repair.lost': repair(true),
} satisfies Operations;
