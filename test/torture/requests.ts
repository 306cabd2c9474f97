import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from 'undici';
import type { Darkroom } from '../support/darkroom.ts';
import type { OperationLog } from './operation-log.ts';

/** The server was killed before it answered: nobody knows whether it did what was asked. */
export class Unanswered extends Error {}

/** A promise that the server broke. */
export class Violation extends Error {}

export interface Answer {
  status: number;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what the wire has; what is expected of it is asserted where it is used
  json: () => any;
}

export interface Asked {
  method?: string;
  body?: unknown;
  form?: FormData;
  /** Statuses that are no violation. */
  expect?: readonly number[];
}

/** Every answer takes less, or the server hangs. */
const ANSWER_LIMIT_MS = 90_000;
/** A connection that breaks means that the server is dead, and its process ends at once. */
const END_LIMIT_MS = 5_000;

export interface Requests {
  /** To the API. */
  api(path: string, asked?: Asked): Promise<Answer>;
  /** To the toolbox of a sandbox. */
  toolbox(id: string, path: string, asked?: Asked): Promise<Answer>;
  execute(id: string, command: string, asked?: Asked): Promise<{ exitCode: number; result: string }>;
  close(): Promise<void>;
}

/** Asks as one client, writes down what happened, and knows a killed server from a broken promise. */
export function createRequests(darkroom: Darkroom, log: OperationLog, who: string): Requests {
  // Of its own: a connection to a server that was killed is not used for the next one.
  const dispatcher = new Agent();

  async function ask(path: string, { method = 'GET', body, form, expect = [200] }: Asked): Promise<Answer> {
    const { ended } = darkroom;
    const what = `${who} ${method} ${path}${body === undefined ? '' : ` ${JSON.stringify(body).slice(0, 300)}`}`;
    let status: number;
    let text: string;
    const payload = form ?? (body === undefined ? undefined : JSON.stringify(body));
    try {
      const answer = await fetch(`${darkroom.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${darkroom.apiKey}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(payload === undefined ? {} : { body: payload }),
        signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
        dispatcher,
      });
      status = answer.status;
      text = await answer.text();
    } catch (error) {
      log.add(
        `${what} -> ${error instanceof Error && error.name === 'TimeoutError' ? 'no answer in time' : 'unanswered'}`,
      );
      if (error instanceof Error && error.name === 'TimeoutError') {
        throw new Violation(`no answer within ${ANSWER_LIMIT_MS} ms: ${what}`);
      }
      const isDead = await Promise.race([ended.then(() => true), sleep(END_LIMIT_MS, false, { ref: false })]);
      if (isDead) throw new Unanswered(what);
      throw new Violation(`the connection broke while the server runs: ${what}: ${String(error)}`, { cause: error });
    }
    log.add(`${what} -> ${status} ${status === 200 ? '' : text.slice(0, 400)}`);
    if (!expect.includes(status)) throw new Violation(`${what} answered ${status}: ${text.slice(0, 1000)}`);
    return { status, text, json: () => JSON.parse(text) };
  }

  return {
    api: (path, asked = {}) => ask(`/api${path}`, asked),
    toolbox: (id, path, asked = {}) => ask(`/toolbox/${id}${path}`, asked),
    async execute(id, command, asked = {}) {
      const answer = await ask(`/toolbox/${id}/process/execute`, { method: 'POST', body: { command }, ...asked });
      return answer.json();
    },
    close: () => dispatcher.destroy(),
  };
}
