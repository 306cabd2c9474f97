import { Violation } from '../../requests.ts';
import { expectInSandboxOf, expectUsable, isGone, newSandbox, post, removeSandbox, restsIn } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import { sha256, type World } from '../world.ts';

async function newSnapshot(world: World, more: object = {}): Promise<{ id: string; name: string; sha256: string }> {
  const image = world.newImage();
  const name = world.newName('snapshot');
  const { id } = await post(world, '/snapshots', { name, imageName: image.reference, ...more });
  await restsIn(world, 'snapshots', id, 'active');
  return { id, name, sha256: image.sha256 };
}

/** Gone when that was answered, and its name is free; what runs from it goes on. */
const remove: Operation = async (world, strike) => {
  const { id, name, sha256: unique } = await newSnapshot(world);
  const sandbox = await newSandbox(world, name);
  const answered = await strike(() => world.requests.api(`/snapshots/${id}`, { method: 'DELETE' }));
  if (answered === undefined) await world.requests.api(`/snapshots/${id}`, { method: 'DELETE', expect: [200, 404] });
  await isGone(world, 'snapshots', name);
  await expectUsable(world, sandbox.id, { '/unique': unique });
  await removeSandbox(world, sandbox.id);
  const image = world.newImage();
  await post(world, '/snapshots', { name, imageName: image.reference });
  await restsIn(world, 'snapshots', name, 'active');
  await expectInSandboxOf(world, name, { '/unique': image.sha256 });
};

/** Its build and its log go with it; both are looked for when all is gone. */
const removeBuilt: Operation = async (world, strike) => {
  const name = world.newName('built');
  const buildInfo = { dockerfileContent: `FROM ${world.baseImage}\nRUN echo ${name} > /name\n` };
  const { id } = await post(world, '/snapshots', { name, buildInfo });
  await restsIn(world, 'snapshots', id, 'active');
  await expectInSandboxOf(world, name, { '/name': sha256(`${name}\n`) });
  await strike(() => world.requests.api(`/snapshots/${id}`, { method: 'DELETE' }));
  await isGone(world, 'snapshots', name);
};

/** It comes back at once, or stays as it was. */
const activate: Operation = async (world, strike) => {
  const { id, name, sha256: unique } = await newSnapshot(world);
  await world.requests.api(`/snapshots/${id}/deactivate`, { method: 'POST', expect: [204] });
  const answered = await strike(() => post(world, `/snapshots/${id}/activate`));
  const { state } = await restsIn(world, 'snapshots', id, 'active', 'inactive');
  if (answered !== undefined && state !== 'active') throw new Violation(`${name} is ${state}`);
  if (state === 'inactive') await post(world, `/snapshots/${id}/activate`);
  await restsIn(world, 'snapshots', id, 'active');
  await expectInSandboxOf(world, name, { '/unique': unique });
};

const deactivate: Operation = async (world, strike) => {
  const { id, name, sha256: unique } = await newSnapshot(world);
  const asked = () => world.requests.api(`/snapshots/${id}/deactivate`, { method: 'POST', expect: [204] });
  const answered = await strike(asked);
  const { state } = await restsIn(world, 'snapshots', id, 'active', 'inactive');
  if (answered !== undefined && state !== 'inactive') throw new Violation(`${name} is ${state}`);
  if (state === 'active') await asked();
  await post(world, `/snapshots/${id}/activate`);
  await expectInSandboxOf(world, name, { '/unique': unique });
};

export const snapshots = {
  'delete.row-written': remove,
  'delete.build-discarded': removeBuilt,
  'delete.row-removed': remove,
  'activate.layers-found': activate,
  'activate.written': activate,
  'deactivate.written': deactivate,
} satisfies Operations;
