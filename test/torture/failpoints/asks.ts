import { setTimeout as sleep } from 'node:timers/promises';
import { Unanswered, Violation } from '../requests.ts';
import type { World } from './world.ts';

/** What operations ask of a server, and look at afterwards. */
export interface Named {
  id: string;
  name: string;
  state: string;
  errorReason?: string | null;
}

const LIMIT_MS = 40_000;
const POLL_MS = 25;
const RESTING = {
  snapshots: ['active', 'inactive', 'error', 'build_failed'],
  sandbox: ['started', 'stopped', 'paused', 'error'],
};

/** What was asked, and the answer; undefined where the server was killed before it gave one. */
export async function answerOf<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Unanswered) return undefined;
    throw error;
  }
}

export async function post(world: World, path: string, body?: unknown): Promise<Named> {
  return (await world.requests.api(path, { method: 'POST', body })).json();
}

/** Where it comes to rest, in bounded time; undefined where there is none. One that failed says why. */
export async function resting(
  { requests }: World,
  kind: keyof typeof RESTING,
  idOrName: string,
): Promise<Named | undefined> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const answer = await requests.api(`/${kind}/${idOrName}`, { expect: [200, 404] });
    if (answer.status === 404) return undefined;
    const found: Named = answer.json();
    if (RESTING[kind].includes(found.state)) {
      const failed = found.state === 'error' || found.state === 'build_failed';
      if (failed && !found.errorReason) throw new Violation(`${idOrName} is in ${found.state} without a reason`);
      return found;
    }
    if (performance.now() > deadline) throw new Violation(`${idOrName} stays in ${found.state}`);
    await sleep(POLL_MS);
  }
}

/** It is in this state, or comes to it. */
export async function restsIn(
  world: World,
  kind: keyof typeof RESTING,
  idOrName: string,
  ...states: readonly string[]
): Promise<Named> {
  const found = await resting(world, kind, idOrName);
  if (found !== undefined && states.includes(found.state)) return found;
  const is = found === undefined ? 'gone' : `in ${found.state} (${found.errorReason ?? ''})`;
  throw new Violation(`${idOrName} is ${is}, and not ${states.join(' or ')}`);
}

export async function isGone(world: World, kind: keyof typeof RESTING, idOrName: string): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while ((await world.requests.api(`/${kind}/${idOrName}`, { expect: [200, 404] })).status !== 404) {
    if (performance.now() > deadline) throw new Violation(`${idOrName} is still there`);
    await sleep(POLL_MS);
  }
}

export async function newSandbox(world: World, snapshot = world.base, more: object = {}): Promise<Named> {
  const made = await post(world, '/sandbox', {
    name: world.newName('box'),
    snapshot,
    autoStopInterval: 0,
    ...more,
  });
  return restsIn(world, 'sandbox', made.id, 'started');
}

export const removeSandbox = ({ requests }: World, id: string) =>
  requests.api(`/sandbox/${id}`, { method: 'DELETE', expect: [200, 404] });

/** What the command writes, without the last line break. */
export async function run({ requests }: World, id: string, command: string): Promise<string> {
  const { exitCode, result } = await requests.execute(id, command);
  if (exitCode !== 0) throw new Violation(`${command} ended with ${exitCode}: ${result}`);
  return result.trimEnd();
}

/** Writes a file that is like no other, and makes it durable inside. Its SHA-256. */
export async function writeFile(world: World, id: string, path: string): Promise<string> {
  const line = `${id} ${path} ${world.newName('written')}`;
  return (await run(world, id, `yes '${line}' | head -c 300000 > ${path} && sync && sha256sum ${path}`)).slice(0, 64);
}

export type Contents = Readonly<Record<string, string>>;

/** The files by their paths have these hashes in the sandbox. */
export async function expectFiles(world: World, id: string, contents: Contents): Promise<void> {
  for (const [path, sha256] of Object.entries(contents)) {
    const found = (await run(world, id, `sha256sum ${path}`)).slice(0, 64);
    if (found !== sha256) throw new Violation(`${path} is not what was written: ${found} and not ${sha256}`);
  }
}

/** Also: it can be written to, so no file system is frozen. */
export async function expectUsable(world: World, id: string, contents: Contents = {}): Promise<void> {
  await expectFiles(world, id, contents);
  await writeFile(world, id, '/root/usable');
}

/** A sandbox of the snapshot has the files. */
export async function expectInSandboxOf(world: World, snapshot: string, contents: Contents): Promise<void> {
  const { id } = await newSandbox(world, snapshot);
  await expectFiles(world, id, contents);
  await removeSandbox(world, id);
}
