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

export async function createSandbox(darkroom: Darkroom, snapshot: string): Promise<{ id: string }> {
  const answer = await darkroom.api('/sandbox', { method: 'POST', body: { snapshot } });
  if (answer.status !== 200) throw new Error(`create: ${answer.status} ${await answer.text()}`);
  return JSON.parse(await answer.text());
}

/** Runs a command; its output comes with the answer. */
export async function execute(darkroom: Darkroom, id: string, command: string): Promise<string> {
  const answer = await fetch(`${darkroom.url}/toolbox/${id}/process/execute`, {
    method: 'POST',
    headers: { authorization: `Bearer ${darkroom.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ command }),
  });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`execute: ${answer.status} ${text}`);
  return JSON.parse(text).result;
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
