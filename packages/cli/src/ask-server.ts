import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { credentialsSchema } from '@darkroom/contract';
import { DarkroomError, messageOf } from '@darkroom/server/machine';

const ANSWER_MS = 60_000;

/** Asks the server of a state directory as its admin; raises with what it says when it refuses. */
export async function askServer(stateDir: string, path: string): Promise<unknown> {
  const { url, apiKey } = await readCredentials(stateDir);
  // That of a local CA, where there is one; nothing else would trust it.
  const ca = await readFile(join(stateDir, 'tls', 'ca.crt')).catch(() => undefined);
  const target = new URL(path, url);
  const options = { headers: { authorization: `Bearer ${apiKey}` }, signal: AbortSignal.timeout(ANSWER_MS) };
  const asked =
    target.protocol === 'https:'
      ? secureRequest(target, { ...options, ...(ca === undefined ? {} : { ca }) })
      : plainRequest(target, options);
  asked.end();
  try {
    const [response]: IncomingMessage[] = await once(asked, 'response');
    if (response === undefined) throw new Error('no answer');
    const body: unknown = JSON.parse(await text(response));
    if (response.statusCode === 200) return body;
    const said = typeof body === 'object' && body !== null && 'message' in body ? `: ${String(body.message)}` : '';
    throw new DarkroomError('unavailable', `the server at ${url} answered ${response.statusCode}${said}`);
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
