import { expectInSandboxOf, post, resting, restsIn } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';

/** What was answered becomes active by itself; else there is nothing, or all of it. */
const pull: Operation = async (world, strike) => {
  const image = world.newImage();
  const name = world.newName('pulled');
  const body = { name, imageName: image.reference };
  let isAccepted = false;
  await strike(async () => {
    await post(world, '/snapshots', body);
    isAccepted = true;
    await restsIn(world, 'snapshots', name, 'active');
  });
  const found = await resting(world, 'snapshots', name);
  if (found === undefined && !isAccepted) await post(world, '/snapshots', body);
  await restsIn(world, 'snapshots', name, 'active');
  await expectInSandboxOf(world, name, { '/unique': image.sha256 });
};

export const pulls = {
  'pull.taken-up': pull,
  'pull.resolved': pull,
  'pull.blob-read': pull,
  'pull.unpacked': pull,
  'pull.layers-ready': pull,
  'pull.active': pull,
  'seal.filled': pull,
  'seal.synced': pull,
  'seal.named': pull,
  'seal.renamed': pull,
  'job.claimed': pull,
  'job.done': pull,
  'job.released': pull,
  'lease.renewed': pull,
  'move.asked': pull,
  'move.written': pull,
} satisfies Operations;
