import { type BuildDto, type BuildLogLineDto, buildLogLineSchema, buildSchema } from '@darkroom/contract';
import { type Darkroom, jsonOf } from './darkroom.ts';
import { eventually } from './eventually.ts';

export interface BuiltSnapshot {
  id: string;
  name: string;
  state: string;
  errorReason: string | null;
}

/** What tests of builds ask a server. */
export function buildsOf(darkroom: Darkroom) {
  async function start(name: string, dockerfile: readonly string[], more: object = {}): Promise<BuiltSnapshot> {
    const answer = await darkroom.api('/snapshots', {
      method: 'POST',
      body: { name, buildInfo: { dockerfileContent: dockerfile.join('\n'), ...more } },
    });
    if (answer.status !== 200) throw new Error(`the build of ${name} was refused: ${await answer.text()}`);
    return jsonOf(answer);
  }

  function ended({ id, name }: BuiltSnapshot): Promise<BuiltSnapshot> {
    return eventually(`the build of ${name} ends`, async () => {
      const snapshot = await jsonOf<BuiltSnapshot>(darkroom.api(`/snapshots/${id}`));
      return ['active', 'error', 'build_failed'].includes(snapshot.state) ? snapshot : undefined;
    });
  }

  const record = async ({ id }: BuiltSnapshot): Promise<BuildDto> =>
    buildSchema.parse(await (await darkroom.api(`/snapshots/${id}/build`)).json());

  /** The lines of the log, as they come, until the build ends or the connection does. */
  async function* follow({ id }: BuiltSnapshot, from = 0): AsyncGenerator<BuildLogLineDto> {
    const answer = await darkroom.api(`/snapshots/${id}/build-logs?follow=true&format=jsonl&from=${from}`);
    if (answer.status !== 200) throw new Error(`the log was refused: ${await answer.text()}`);
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of answer.body ?? []) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield buildLogLineSchema.parse(JSON.parse(line));
    }
  }

  /** The whole log of a build, when it has ended. */
  async function log(snapshot: BuiltSnapshot): Promise<BuildLogLineDto[]> {
    const lines: BuildLogLineDto[] = [];
    for await (const line of follow(snapshot)) lines.push(line);
    return lines;
  }

  /** Resolves when a step has written this line. */
  async function said(snapshot: BuiltSnapshot, text: string): Promise<void> {
    for await (const line of follow(snapshot)) if (line.stream !== 'note' && line.text === text) return;
    throw new Error(`the build of ${snapshot.name} never said ${text}`);
  }

  /** What a command says in a new sandbox of the snapshot. */
  async function inSandbox({ name }: BuiltSnapshot, command: string): Promise<string> {
    const { id } = await jsonOf<{ id: string }>(darkroom.api('/sandbox', { method: 'POST', body: { snapshot: name } }));
    const answer = await fetch(`${darkroom.url}/toolbox/${id}/process/execute`, {
      method: 'POST',
      headers: { authorization: `Bearer ${darkroom.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ command }),
    });
    if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
    const { result } = await jsonOf<{ result: string }>(answer);
    await darkroom.api(`/sandbox/${id}`, { method: 'DELETE' });
    return result;
  }

  return { start, ended, record, follow, log, said, inSandbox };
}
