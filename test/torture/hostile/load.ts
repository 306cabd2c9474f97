import { randomUUID } from 'node:crypto';
import type { Darkroom } from '../../support/darkroom.ts';
import { eventually } from '../../support/eventually.ts';

/** One request as its client saw it. */
export interface Asked {
  what: string;
  /** 0: the connection ended without an answer. */
  status: number;
  ms: number;
  text: string;
  retryAfter: string | null;
}

export interface Load {
  /** Every request so far. */
  readonly asked: readonly Asked[];
  /** Rounds that went through from the first request to the last. */
  rounds(): number;
  /** No new round begins; resolves when those that run have ended. */
  stop(): Promise<void>;
  /** What was acknowledged is there, with the bytes that were written; what was deleted is gone; nothing is left on its way. */
  check(): Promise<void>;
}

export interface LoadOptions {
  darkroom: Darkroom;
  /** An active snapshot that sandboxes are made of. */
  snapshot: string;
  image: string;
  clients: number;
  /** No request may take longer: one that does counts as one that hangs. */
  boundMs?: number;
}

interface KeptSandbox {
  id: string;
  /** Written, synced and acknowledged. */
  files: Map<string, string>;
}

const ENDED = ['active', 'inactive', 'error', 'build_failed'];
const RESTING = [...ENDED, 'started', 'stopped', 'paused', 'destroyed'];

/** Several clients that make, use, capture, fork and delete sandboxes, and build and pull, over and over; they write down what they were told. */
export function startLoad(options: LoadOptions): Load {
  const { darkroom, snapshot, image, clients, boundMs = 60_000 } = options;
  const asked: Asked[] = [];
  const sandboxes = new Map<string, KeptSandbox>();
  const snapshots = new Map<string, string>();
  const deleted = new Set<string>();
  let stopping = false;
  let rounds = 0;

  async function ask(what: string, path: string, method = 'GET', body?: unknown): Promise<Asked> {
    const began = performance.now();
    const entry = { what, status: 0, ms: 0, text: '', retryAfter: null as string | null };
    try {
      const answer = await fetch(`${darkroom.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${darkroom.apiKey}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(boundMs),
      });
      entry.status = answer.status;
      entry.retryAfter = answer.headers.get('retry-after');
      entry.text = await answer.text();
    } catch (error) {
      entry.text = String(error);
    }
    entry.ms = performance.now() - began;
    asked.push(entry);
    return entry;
  }

  const execute = (id: string, command: string, what = 'command') =>
    ask(what, `/toolbox/${id}/process/execute`, 'POST', { command, timeout: 30 });
  const isOk = ({ status }: Asked) => status >= 200 && status < 300;
  const outputOf = ({ text }: Asked): { exitCode: number; result: string } => JSON.parse(text);

  async function write({ id, files }: KeptSandbox): Promise<void> {
    const path = `/root/${randomUUID()}`;
    const content = randomUUID();
    const answer = await execute(id, `sh -c "echo ${content} > ${path} && sync ${path} && echo done"`, 'write');
    if (isOk(answer) && outputOf(answer).result === 'done\n') files.set(path, content);
  }

  async function snapshotEnds(id: string): Promise<string | undefined> {
    const until = performance.now() + 90_000;
    while (performance.now() < until) {
      const answer = await ask('look', `/api/snapshots/${id}`);
      if (answer.status === 404) return undefined;
      const state: string | undefined = isOk(answer) ? JSON.parse(answer.text).state : undefined;
      if (state !== undefined && ENDED.includes(state)) return state;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return undefined;
  }

  async function remove(id: string): Promise<void> {
    sandboxes.delete(id);
    if (isOk(await ask('delete', `/api/sandbox/${id}`, 'DELETE'))) deleted.add(id);
  }

  async function round(number: number): Promise<void> {
    const made = await ask('create', '/api/sandbox', 'POST', { snapshot });
    if (!isOk(made)) return;
    const sandbox: KeptSandbox = { id: JSON.parse(made.text).id, files: new Map() };
    sandboxes.set(sandbox.id, sandbox);
    await write(sandbox);
    await write(sandbox);
    if (number % 4 === 0) await capture(sandbox);
    if (number % 4 === 1) await fork(sandbox);
    if (number % 4 === 2) await make('build', { dockerfileContent: `FROM ${image}\nRUN echo ${randomUUID()} > /made` });
    if (number % 4 === 3) await make('pull');
    await write(sandbox);
    if (number % 3 !== 0) await remove(sandbox.id);
    rounds++;
  }

  async function capture(sandbox: KeptSandbox): Promise<void> {
    const name = `captured-${randomUUID()}`;
    const answer = await ask('capture', `/api/sandbox/${sandbox.id}/snapshot`, 'POST', { name });
    if (!isOk(answer)) return;
    snapshots.set(name, name);
  }

  async function fork(sandbox: KeptSandbox): Promise<void> {
    const files = new Map(sandbox.files);
    const answer = await ask('fork', `/api/sandbox/${sandbox.id}/fork`, 'POST', {});
    if (isOk(answer)) {
      const { id } = JSON.parse(answer.text);
      sandboxes.set(id, { id, files });
    }
  }

  async function make(what: 'build' | 'pull', buildInfo?: object): Promise<void> {
    const name = `${what}-${randomUUID()}`;
    const body = buildInfo === undefined ? { name, imageName: image } : { name, buildInfo };
    const answer = await ask(what, '/api/snapshots', 'POST', body);
    if (!isOk(answer)) return;
    const { id } = JSON.parse(answer.text);
    const state = await snapshotEnds(id);
    if (state === 'active') snapshots.set(id, name);
  }

  const workers = Array.from({ length: clients }, async (_, index) => {
    for (let number = index; !stopping; number++) {
      await round(number);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });

  async function checkSandbox({ id, files }: KeptSandbox): Promise<string[]> {
    const look = await ask('look', `/api/sandbox/${id}`);
    if (!isOk(look)) return [`sandbox ${id}, which was acknowledged: ${look.status} ${look.text}`];
    const { state, errorReason } = JSON.parse(look.text);
    if (state !== 'started') return [`sandbox ${id} is ${state}: ${errorReason}`];
    const problems: string[] = [];
    for (const [path, content] of files) {
      const answer = await execute(id, `cat ${path}`);
      const text = isOk(answer) ? outputOf(answer).result : `${answer.status} ${answer.text}`;
      if (text !== `${content}\n`) problems.push(`${path} of sandbox ${id} is ${JSON.stringify(text)}, not ${content}`);
    }
    return problems;
  }

  return {
    asked,
    rounds: () => rounds,
    async stop() {
      stopping = true;
      await Promise.all(workers);
    },
    async check() {
      const problems: string[] = [];
      problems.push(...(await Promise.all([...sandboxes.values()].map(checkSandbox))).flat());
      for (const [id, name] of snapshots) {
        const answer = await ask('look', `/api/snapshots/${id}`);
        const state = isOk(answer) ? JSON.parse(answer.text).state : answer.text;
        if (state !== 'active') problems.push(`snapshot ${name}, which was active: ${state}`);
      }
      await Promise.all(
        [...deleted].map(async (id) => {
          const isGone = async () => ((await ask('look', `/api/sandbox/${id}`)).status === 404 ? true : undefined);
          const gone = await eventually(`sandbox ${id} is gone`, isGone).catch(() => false);
          if (!gone) problems.push(`sandbox ${id} was deleted and is still there`);
        }),
      );
      let onTheWay: string[] | undefined;
      for (const until = performance.now() + 60_000; performance.now() < until; ) {
        onTheWay = await onItsWay();
        if (onTheWay?.length === 0) break;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      problems.push(...(onTheWay ?? ['what there is cannot be listed']));
      if (problems.length > 0) throw new Error(problems.join('\n'));
    },
  };

  async function onItsWay(): Promise<string[] | undefined> {
    const lists = await Promise.all([ask('look', '/api/sandbox?limit=200'), ask('look', '/api/snapshots?limit=200')]);
    if (!lists.every(isOk)) return undefined;
    const all: { id: string; state: string }[] = lists.flatMap(({ text }) => JSON.parse(text).items);
    return all.flatMap(({ id, state }) => (RESTING.includes(state) ? [] : [`${id} stays ${state}`]));
  }
}

/** How often each answer came, for a person to read. */
export function summaryOf(asked: readonly Asked[]): string {
  const counts = new Map<string, { count: number; longest: number }>();
  for (const { what, status, ms } of asked) {
    const key = `${what} ${status}`;
    const { count, longest } = counts.get(key) ?? { count: 0, longest: 0 };
    counts.set(key, { count: count + 1, longest: Math.max(longest, ms) });
  }
  return [...counts]
    .map(([key, { count, longest }]) => `${key}: ${count} (at most ${Math.round(longest)} ms)`)
    .join('\n');
}
