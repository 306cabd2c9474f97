import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Darkroom } from '../../test/support/darkroom.ts';

/** Creates a snapshot and waits until it is active, looking every 20 ms. */
export async function makeSnapshot(darkroom: Darkroom, name: string, imageName: string): Promise<void> {
  const made = await darkroom.api('/snapshots', { method: 'POST', body: { name, imageName } });
  if (made.status !== 200) throw new Error(`snapshot ${name}: ${await made.text()}`);
  const deadline = Date.now() + 600_000;
  while (Date.now() < deadline) {
    const snapshot = JSON.parse(await (await darkroom.api(`/snapshots/${name}`)).text());
    if (snapshot.state === 'active') return;
    if (snapshot.state === 'error') throw new Error(`snapshot ${name}: ${snapshot.errorReason}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`snapshot ${name} did not become active`);
}

/** One kept connection, and little else: what a client costs is not what is measured. */
const agent = new Agent({ keepAlive: true });

/** Builds a snapshot and waits until it is active, looking every few milliseconds. */
export async function buildSnapshot(
  darkroom: Darkroom,
  name: string,
  dockerfileContent: string,
  contextHashes: readonly string[] = [],
): Promise<void> {
  let snapshot = JSON.parse(
    await post(darkroom, '/api/snapshots', { name, buildInfo: { dockerfileContent, contextHashes } }),
  );
  const deadline = Date.now() + 300_000;
  while (snapshot.state !== 'active') {
    if (['error', 'build_failed'].includes(snapshot.state))
      throw new Error(`snapshot ${name}: ${snapshot.errorReason}`);
    if (Date.now() > deadline) throw new Error(`snapshot ${name} did not become active`);
    await new Promise((resolve) => setTimeout(resolve, 3));
    snapshot = JSON.parse(await ask(darkroom, 'GET', `/api/snapshots/${snapshot.id}`));
  }
}

export async function createSandbox(darkroom: Darkroom, snapshot: string): Promise<{ id: string }> {
  return JSON.parse(await post(darkroom, '/api/sandbox', { snapshot }));
}

/** Runs a command; its output comes with the answer. */
export async function execute(darkroom: Darkroom, id: string, command: string): Promise<string> {
  return JSON.parse(await post(darkroom, `/toolbox/${id}/process/execute`, { command })).result;
}

/** The answer's text; raises for every other than 2xx. */
export function post(darkroom: Darkroom, path: string, body: unknown): Promise<string> {
  return ask(darkroom, 'POST', path, JSON.stringify(body));
}

async function ask(darkroom: Darkroom, method: string, path: string, body?: string): Promise<string> {
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  const headers = { authorization: `Bearer ${darkroom.apiKey}`, ...type };
  const sent = request(`${darkroom.url}${path}`, { method, agent, headers });
  sent.end(body);
  const [answer]: IncomingMessage[] = await once(sent, 'response');
  if (answer === undefined) throw new Error(`${path}: no answer`);
  const text = (await answer.setEncoding('utf8').toArray()).join('');
  if (answer.statusCode === undefined || answer.statusCode >= 300)
    throw new Error(`${path}: ${answer.statusCode} ${text}`);
  return text;
}

/** Deletes it and waits until it is gone. */
export async function deleteSandbox(darkroom: Darkroom, id: string): Promise<void> {
  await darkroom.api(`/sandbox/${id}`, { method: 'DELETE' });
  for (let tries = 0; tries < 1200; tries++) {
    if ((await darkroom.api(`/sandbox/${id}`)).status === 404) return;
    await new Promise((resolve) => setTimeout(resolve, tries < 20 ? 5 : 50));
  }
  throw new Error(`sandbox ${id} is still there`);
}
