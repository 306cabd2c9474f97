import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { type Credentials, credentialsSchema } from '@darkroom/contract';
import { DarkroomError, messageOf } from '@darkroom/server/machine';

const ANSWER_MS = 60_000;
/** A server that looks at a layer of a million files has nothing to say meanwhile. */
const QUIET_MS = 30 * 60_000;

export interface AskOptions {
  method?: 'GET' | 'POST' | 'DELETE' | undefined;
  body?: object | undefined;
  waitMs?: number;
}

/** Asks the server of a state directory as its admin; raises with what it says when it refuses. */
export async function askServer(
  stateDir: string,
  path: string,
  { method, body, waitMs = ANSWER_MS }: AskOptions = {},
): Promise<unknown> {
  const credentials = await readCredentials(stateDir);
  return explained(credentials.url, async () => {
    const response = await send(stateDir, credentials, path, { method, body, signal: AbortSignal.timeout(waitMs) });
    return JSON.parse(await text(response));
  });
}

/** Asks it for something that takes long, and gives each line of its answer, parsed, as it comes. */
export async function* askLines(stateDir: string, path: string, body: object): AsyncGenerator<unknown> {
  const credentials = await readCredentials(stateDir);
  const { url } = credentials;
  const headLimit = new AbortController();
  const late = setTimeout(() => headLimit.abort(new Error('it did not answer in time')), ANSWER_MS);
  const response = await explained(url, () =>
    send(stateDir, credentials, path, { body, signal: headLimit.signal }),
  ).finally(() => clearTimeout(late));
  const quiet = setTimeout(
    () => response.destroy(new Error(`it said nothing for ${QUIET_MS / 60_000} minutes`)),
    QUIET_MS,
  );
  try {
    for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
      quiet.refresh();
      yield JSON.parse(line);
    }
    if (!response.complete) throw new Error('it ended too early');
  } catch (cause) {
    throw new DarkroomError('unavailable', `the answer of the server at ${url} broke off: ${messageOf(cause)}`, {
      cause,
    });
  } finally {
    clearTimeout(quiet);
    response.destroy();
  }
}

/** The answer's head has come, and says that all is well. */
async function send(
  stateDir: string,
  { url, apiKey }: Credentials,
  path: string,
  { method, body, signal }: Pick<AskOptions, 'method' | 'body'> & { signal?: AbortSignal },
): Promise<IncomingMessage> {
  // That of a local CA, where there is one; nothing else would trust it.
  const ca = await readFile(join(stateDir, 'tls', 'ca.crt')).catch(() => undefined);
  const target = new URL(path, url);
  const options = {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(signal === undefined ? {} : { signal }),
  };
  const asked =
    target.protocol === 'https:'
      ? secureRequest(target, { ...options, ...(ca === undefined ? {} : { ca }) })
      : plainRequest(target, options);
  asked.end(body === undefined ? undefined : JSON.stringify(body));
  const [response]: IncomingMessage[] = await once(asked, 'response');
  if (response === undefined) throw new Error('no answer');
  if (response.statusCode === 200) return response;
  throw new DarkroomError(
    'unavailable',
    `the server at ${url} answered ${response.statusCode}${saidIn(await text(response))}`,
  );
}

function saidIn(body: string): string {
  try {
    const said: unknown = JSON.parse(body);
    return typeof said === 'object' && said !== null && 'message' in said ? `: ${String(said.message)}` : '';
  } catch {
    return '';
  }
}

async function explained<T>(url: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof DarkroomError) throw error;
    throw new DarkroomError('unavailable', `no server answers at ${url}: ${messageOf(error)}`, {
      hint: 'Start it with `darkroom up`.',
      cause: error,
    });
  }
}

async function readCredentials(stateDir: string) {
  const path = join(stateDir, 'credentials.json');
  try {
    return credentialsSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new DarkroomError('unavailable', `${path} cannot be read: ${messageOf(cause)}`, {
      hint: 'Name the state directory of a server that has run with --state-dir, as the user that it runs as.',
      cause,
    });
  }
}
