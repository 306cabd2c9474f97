import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Violation } from '../../requests.ts';
import { expectInSandboxOf, expectUsable, newSandbox, post, removeSandbox, restsIn } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import type { World } from '../world.ts';

/** What nothing needs goes; what runs, or has a name, stays whole; and what went can be fetched again. */
const collect: Operation = async (world, strike) => {
  const kept = await pulled(world);
  const running = await newSandbox(world, kept.name);
  const gone = await pulled(world);
  await world.requests.api(`/snapshots/${gone.id}`, { method: 'DELETE' });
  const asked = () => world.requests.api('/admin/gc', { method: 'POST', body: { withoutGrace: true } });
  await strike(asked);
  await asked();
  await expectSoundStore(world);
  await expectUsable(world, running.id, { '/unique': kept.sha256 });
  await expectInSandboxOf(world, kept.name, { '/unique': kept.sha256 });
  await removeSandbox(world, running.id);
  await post(world, '/snapshots', { name: gone.name, imageName: gone.reference });
  await restsIn(world, 'snapshots', gone.name, 'active');
  await expectInSandboxOf(world, gone.name, { '/unique': gone.sha256 });
};

async function pulled(world: World) {
  const image = world.newImage();
  const name = world.newName('pulled');
  const { id } = await post(world, '/snapshots', { name, imageName: image.reference });
  await restsIn(world, 'snapshots', id, 'active');
  return { ...image, name, id };
}

/** The index knows each layer, and nothing else. */
async function expectSoundStore({ darkroom: { stateDir } }: World): Promise<void> {
  const store = join(stateDir, 'pool', 'layers');
  const [layers, index] = await Promise.all([readdir(join(store, 'layers')), readdir(join(store, 'by-diff-id'))]);
  if (layers.length === index.length) return;
  throw new Violation(`there are ${layers.length} layers, and ${index.length} in the index`);
}

export const garbage = {
  'gc.reachable-read': collect,
  'gc.marked': collect,
  'gc.layer-forgotten': collect,
  'gc.unindexed': collect,
  'gc.discarded': collect,
  'gc.layer-removed': collect,
} satisfies Operations;
