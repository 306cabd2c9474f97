import { expectInSandboxOf, expectUsable, newSandbox, post, removeSandbox, restsIn, writeFile } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';

/** Killed with a sandbox that runs, one that stops, a pull that goes on; and killed again while the next server puts that right. */
const recover: Operation = async (world, strike) => {
  const running = await newSandbox(world);
  const files = { '/root/kept': await writeFile(world, running.id, '/root/kept') };
  const stopping = await newSandbox(world);
  const image = world.newImage();
  // Until the server is killed.
  let resume = () => {};
  const held = new Promise<void>((resolve) => {
    resume = resolve;
  });
  const begun = Promise.withResolvers<void>();
  world.registry.script = (request) => {
    if (request.url?.includes('/blobs/') !== true) return undefined;
    begun.resolve();
    void held.then(() => request.socket.destroy());
    return true;
  };
  const name = world.newName('pulled');
  await post(world, '/snapshots', { name, imageName: image.reference });
  await begun.promise;
  const stopped = post(world, `/sandbox/${stopping.id}/stop`).catch(() => undefined);
  world.registry.script = undefined;
  await strike.atStart();
  resume();
  await stopped;
  await restsIn(world, 'sandbox', running.id, 'started');
  await expectUsable(world, running.id, files);
  await restsIn(world, 'sandbox', stopping.id, 'started', 'stopped');
  await restsIn(world, 'snapshots', name, 'active');
  await expectInSandboxOf(world, name, { '/unique': image.sha256 });
  await removeSandbox(world, running.id);
  await removeSandbox(world, stopping.id);
};

export const recoveries = {
  'job.dead-taken': recover,
  'recover.adopted': recover,
  'recover.one-sandbox': recover,
  'recover.sandboxes': recover,
  'recover.snapshots': recover,
} satisfies Operations;
