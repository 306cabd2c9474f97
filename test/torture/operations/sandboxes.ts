import type { Client } from '../client.ts';
import { inDoubt, isSurely, only, type SandboxModel, type SnapshotModel } from '../model.ts';
import type { Random } from '../random.ts';
import { untilStarted } from './wait.ts';

/** Commands that were left in the background are known by this. */
export const LEFT_COMMAND = 'sleep 86399';

export async function createSandbox(client: Client, random: Random, snapshot: SnapshotModel): Promise<SandboxModel> {
  const sandbox: SandboxModel = {
    name: client.newName('sandboxes', random),
    id: undefined,
    fates: new Set(['absent', 'started', 'error']),
    files: snapshot.files,
    hasCommand: false,
    cpu: undefined,
    owner: client.index,
  };
  client.model.sandboxes.add(sandbox);
  const answer = await client.requests.api('/sandbox', {
    method: 'POST',
    body: { name: sandbox.name, snapshot: snapshot.name, autoStopInterval: 0 },
  });
  const { id, state, cpu } = answer.json();
  sandbox.id = id;
  sandbox.cpu = cpu;
  if (state !== 'started') await untilStarted(client, id);
  sandbox.fates = only('started');
  return sandbox;
}

export async function leaveCommand(client: Client, sandbox: SandboxModel): Promise<void> {
  sandbox.hasCommand = sandbox.hasCommand === true ? true : undefined;
  await client.requests.execute(sandbox.id ?? '', `${LEFT_COMMAND} >/dev/null 2>&1 &`);
  sandbox.hasCommand = true;
}

export async function stopSandbox(client: Client, random: Random, sandbox: SandboxModel): Promise<void> {
  inDoubt(sandbox, 'stopped');
  const { hasCommand } = sandbox;
  sandbox.hasCommand = hasCommand === false ? false : undefined;
  // Its pid 1 hears no SIGTERM of the image's own, so a polite stop could take its whole grace.
  await client.requests.api(`/sandbox/${sandbox.id}/stop?force=${random.chance(0.9)}`, { method: 'POST' });
  sandbox.fates = only('stopped');
  sandbox.hasCommand = false;
}

export async function startSandbox(client: Client, _random: Random, sandbox: SandboxModel): Promise<void> {
  const wasPaused = isSurely(sandbox, 'paused');
  inDoubt(sandbox, 'started', 'error');
  const { state } = (await client.requests.api(`/sandbox/${sandbox.id}/start`, { method: 'POST' })).json();
  if (state !== 'started') await untilStarted(client, sandbox.id ?? '');
  sandbox.fates = only('started');
  if (!wasPaused) sandbox.hasCommand = false;
}

export async function pauseSandbox(client: Client, _random: Random, sandbox: SandboxModel): Promise<void> {
  inDoubt(sandbox, 'paused');
  await client.requests.api(`/sandbox/${sandbox.id}/pause`, { method: 'POST' });
  sandbox.fates = only('paused');
}

export async function resizeSandbox(client: Client, random: Random, sandbox: SandboxModel): Promise<void> {
  const cpu = 1 + random.below(3);
  sandbox.cpu = undefined;
  await client.requests.api(`/sandbox/${sandbox.id}/resize`, { method: 'POST', body: { cpu } });
  sandbox.cpu = cpu;
}

export async function deleteSandbox(client: Client, sandbox: SandboxModel): Promise<void> {
  inDoubt(sandbox, 'absent');
  await client.requests.api(`/sandbox/${sandbox.id}`, { method: 'DELETE' });
  client.model.sandboxes.delete(sandbox);
  client.model.freeNames.sandboxes.push(sandbox.name);
}

export async function forkSandbox(client: Client, random: Random, sandbox: SandboxModel, count: number): Promise<void> {
  const children = Array.from({ length: count }, (): SandboxModel => {
    const name = client.newName('sandboxes', random);
    return {
      name,
      id: undefined,
      fates: new Set(['absent', 'started', 'error']),
      files: sandbox.files,
      hasCommand: false,
      cpu: sandbox.cpu,
      owner: client.index,
    };
  });
  for (const child of children) client.model.sandboxes.add(child);
  const names = children.map(({ name }) => ({ name }));
  const [path, body] = count === 1 ? ['fork', names[0]] : ['forks', { children: names }];
  const told = (await client.requests.api(`/sandbox/${sandbox.id}/${path}`, { method: 'POST', body })).json();
  for (const { id, name, state } of count === 1 ? [told] : told) {
    const child = children.find((one) => one.name === name);
    if (child === undefined) continue;
    child.id = id;
    if (state !== 'started') await untilStarted(client, id);
    child.fates = only('started');
  }
}
