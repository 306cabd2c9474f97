import { Violation } from '../../requests.ts';
import {
  type Contents,
  expectUsable,
  isGone,
  newSandbox,
  post,
  removeSandbox,
  resting,
  restsIn,
  run,
  writeFile,
} from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import type { World } from '../world.ts';

/** It runs, or says why not and can be started, with its files. */
async function expectStartable(world: World, id: string, files: Contents): Promise<void> {
  const { state } = await restsIn(world, 'sandbox', id, 'started', 'stopped', 'error');
  if (state !== 'started') await post(world, `/sandbox/${id}/start`);
  await restsIn(world, 'sandbox', id, 'started');
  await expectUsable(world, id, files);
}

const create: Operation = async (world, strike) => {
  const name = world.newName('box');
  const body = { name, snapshot: world.base, autoStopInterval: 0, labels: { for: name } };
  const answered = await strike(() => post(world, '/sandbox', body));
  const found = await resting(world, 'sandbox', name);
  if (answered !== undefined && found?.state !== 'started') throw new Violation(`${name} is ${found?.state}`);
  const { id } = found ?? (await post(world, '/sandbox', body));
  await expectStartable(world, id, {});
  await removeSandbox(world, id);
};

/** What it is there for runs, once. */
const createWithEntrypoint: Operation = async (world, strike) => {
  const snapshot = world.newName('serving');
  const entrypoint = ['sh', '-c', 'echo begun >> /root/begun; exec sleep 86000'];
  await post(world, '/snapshots', { name: snapshot, imageName: world.baseImage, entrypoint });
  await restsIn(world, 'snapshots', snapshot, 'active');
  const name = world.newName('box');
  await strike(() => post(world, '/sandbox', { name, snapshot, autoStopInterval: 0 }));
  const { id } = await restsIn(world, 'sandbox', name, 'started');
  const begun = 'for i in $(seq 100); do [ -e /root/begun ] && break; sleep 0.1; done; sleep 0.2; cat /root/begun';
  const lines = await run(world, id, begun);
  if (lines !== 'begun') throw new Violation(`the entry point was begun ${lines.split('\n').length} times`);
  await post(world, `/sandbox/${id}/stop?force=true`);
  await post(world, `/sandbox/${id}/start`);
  if ((await run(world, id, begun.replaceAll('-e /root/begun', '$(wc -l < /root/begun) = 2'))) !== 'begun\nbegun') {
    throw new Violation('the entry point was not begun once more');
  }
  await removeSandbox(world, id);
};

/** One that was stopped. */
const start: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  const files = { '/root/kept': await writeFile(world, id, '/root/kept') };
  await post(world, `/sandbox/${id}/stop?force=true`);
  await strike(() => post(world, `/sandbox/${id}/start`));
  await expectStartable(world, id, files);
  await removeSandbox(world, id);
};

const fork: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  await run(world, id, 'echo the parent > /etc/machine-id');
  const files = { '/root/shared': await writeFile(world, id, '/root/shared') };
  const names = [world.newName('child'), world.newName('child')];
  const body = { children: names.map((name) => ({ name })) };
  const answered = await strike(() => post(world, `/sandbox/${id}/forks`, body));
  await expectUsable(world, id, files);
  const found = await Promise.all(names.map((name) => resting(world, 'sandbox', name)));
  const there = found.filter((child) => child !== undefined);
  // The rows of all are written at once.
  if (there.length !== 0 && there.length !== names.length) throw new Violation('some children are there, and some not');
  if (answered !== undefined && there.some(({ state }) => state !== 'started')) throw new Violation('a child is lost');
  if (there.length === 0) await post(world, `/sandbox/${id}/forks`, body);
  for (const name of names) {
    const child = await restsIn(world, 'sandbox', name, 'started', 'error');
    await expectStartable(world, child.id, files);
    if ((await run(world, child.id, 'cat /etc/machine-id')) === 'the parent') {
      throw new Violation('a child has the identity of its parent');
    }
    await removeSandbox(world, child.id);
  }
  await removeSandbox(world, id);
};

const stop: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  const files = { '/root/kept': await writeFile(world, id, '/root/kept') };
  await strike(() => post(world, `/sandbox/${id}/stop?force=true`));
  const { state } = await restsIn(world, 'sandbox', id, 'stopped', 'started');
  if (state === 'started') await post(world, `/sandbox/${id}/stop?force=true`);
  await restsIn(world, 'sandbox', id, 'stopped');
  await expectStartable(world, id, files);
  await removeSandbox(world, id);
};

/** One that goes as soon as it has stopped. */
const stopForGood: Operation = async (world, strike) => {
  const { id } = await newSandbox(world, world.base, { autoDeleteInterval: 0 });
  await strike(() => post(world, `/sandbox/${id}/stop?force=true`));
  await isGone(world, 'sandbox', id);
};

/** Its processes stand still, or go on; they are not lost. */
const pause: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  await run(world, id, 'echo kept in memory > /dev/shm/mark');
  await strike(() => post(world, `/sandbox/${id}/pause`));
  const { state } = await restsIn(world, 'sandbox', id, 'paused', 'started');
  if (state === 'started') await post(world, `/sandbox/${id}/pause`);
  await restsIn(world, 'sandbox', id, 'paused');
  await post(world, `/sandbox/${id}/start`);
  await expectInMemory(world, id);
  await removeSandbox(world, id);
};

const resume: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  await run(world, id, 'echo kept in memory > /dev/shm/mark');
  await post(world, `/sandbox/${id}/pause`);
  await strike(() => post(world, `/sandbox/${id}/start`));
  const { state } = await restsIn(world, 'sandbox', id, 'paused', 'started');
  if (state === 'paused') await post(world, `/sandbox/${id}/start`);
  await expectInMemory(world, id);
  await removeSandbox(world, id);
};

async function expectInMemory(world: World, id: string): Promise<void> {
  await restsIn(world, 'sandbox', id, 'started');
  const mark = await run(world, id, 'cat /dev/shm/mark');
  if (mark !== 'kept in memory') throw new Violation(`it kept ${mark} in memory`);
  await expectUsable(world, id);
}

const resize: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  await strike(() => post(world, `/sandbox/${id}/resize`, { cpu: 2, memory: 2 }));
  await restsIn(world, 'sandbox', id, 'started');
  const size = async () => (await world.requests.api(`/sandbox/${id}`)).json();
  if ((await size()).cpu !== 2) await post(world, `/sandbox/${id}/resize`, { cpu: 2, memory: 2 });
  const { cpu, memory } = await size();
  if (cpu !== 2 || memory !== 2) throw new Violation(`its size is ${cpu} and ${memory}`);
  await expectUsable(world, id);
  await removeSandbox(world, id);
};

/** What was written down is in force after the restart. */
const changeNetwork: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  const change = () => post(world, `/sandbox/${id}/network-settings`, { networkBlockAll: true });
  await strike(change);
  const { networkBlockAll } = (await world.requests.api(`/sandbox/${id}`)).json();
  if (!networkBlockAll) await change();
  await expectUsable(world, id);
  await removeSandbox(world, id);
};

/** It goes, also when nobody asks again; unless it was not accepted. */
const remove: Operation = async (world, strike) => {
  const { id, name } = await newSandbox(world);
  let isAccepted = false;
  await strike(async () => {
    await removeSandbox(world, id);
    isAccepted = true;
    await isGone(world, 'sandbox', id);
  });
  if (!isAccepted) await removeSandbox(world, id);
  await isGone(world, 'sandbox', id);
  const again = await newSandbox(world, world.base, { name });
  await removeSandbox(world, again.id);
};

export const sandboxes = {
  'start.row-written': create,
  'start.place-opened': create,
  'start.mounted': create,
  'start.network-taken': create,
  'start.container-run': start,
  'start.running': start,
  'start.started': createWithEntrypoint,
  'start.entrypoint-run': createWithEntrypoint,
  'fork.copied': fork,
  'fork.one-placed': fork,
  'fork.placed': fork,
  'fork.rows-written': fork,
  'fork.identity-given': fork,
  'fork.one-started': fork,
  'stop.row-written': stop,
  'stop.killed': stop,
  'stop.ended': stop,
  'stop.stopped': stopForGood,
  'pause.row-written': pause,
  'pause.frozen': pause,
  'pause.paused': pause,
  'resume.row-written': resume,
  'resume.thawed': resume,
  'resume.started': resume,
  'resize.row-written': resize,
  'resize.applied': resize,
  'resize.done': resize,
  'network.row-written': changeNetwork,
  'network.applied': changeNetwork,
  'remove.row-written': remove,
  'remove.build-removed': remove,
  'remove.files-trashed': remove,
  'remove.files-removed': remove,
  'remove.destroyed': remove,
} satisfies Operations;
