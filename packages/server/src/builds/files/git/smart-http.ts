import type { Agent, Dispatcher } from 'undici';
import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import { credentialsFor } from '../remote-error.ts';

/** The two requests of git's smart HTTP protocol (gitprotocol-http). Bodies must be read to their ends or destroyed. */
export interface GitServer {
  /** Capabilities, and with the older protocol the refs. */
  advertise(signal: AbortSignal): AsyncIterable<Buffer>;
  request(body: string, signal: AbortSignal): AsyncIterable<Buffer>;
}

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const SERVICE = 'git-upload-pack';

export function openGitServer(agent: Agent, repository: URL): GitServer {
  // Where the first request led: as with git itself, later ones go there at once and are led nowhere else.
  let base = repository;
  const headers = (url: URL) => ({
    'user-agent': 'git/2.39 (darkroom)',
    'accept-encoding': 'identity',
    'git-protocol': 'version=2',
    ...credentialsFor(url, repository),
  });

  async function find(signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    let url = new URL(repository);
    url.pathname = `${repository.pathname.replace(/\/+$/, '')}/info/refs`;
    url.search = `?service=${SERVICE}`;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
      const response = await agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: 'GET',
        headers: headers(url),
        signal,
      });
      if (!REDIRECTS.has(response.statusCode)) {
        checkAnswer(response, 'advertisement');
        base = new URL(url);
        base.search = '';
        base.pathname = url.pathname.slice(0, -'/info/refs'.length);
        return response;
      }
      discard(response);
      const { location } = response.headers;
      if (typeof location !== 'string' || !URL.canParse(location, url.href))
        throw invalidRequest('it redirects to nowhere');
      const next = new URL(location, url.href);
      if (next.protocol !== 'https:' && (next.protocol !== 'http:' || url.protocol === 'https:'))
        throw invalidRequest(`it redirects to ${next.protocol}`);
      if (!next.pathname.endsWith('/info/refs')) throw invalidRequest('it redirects to what is no repository');
      url = next;
    }
    throw invalidRequest(`it redirects more than ${MAX_REDIRECTS} times`);
  }

  return {
    async *advertise(signal) {
      yield* bodyOf(await find(signal));
    },
    async *request(body, signal) {
      const response = await agent.request({
        origin: base.origin,
        path: `${base.pathname}/${SERVICE}`,
        method: 'POST',
        headers: {
          ...headers(base),
          'content-type': `application/x-${SERVICE}-request`,
          accept: `application/x-${SERVICE}-result`,
        },
        body,
        signal,
      });
      checkAnswer(response, 'result');
      yield* bodyOf(response);
    },
  };
}

async function* bodyOf({ body }: Dispatcher.ResponseData): AsyncGenerator<Buffer> {
  // What is not read to its end is cut off, which it answers with an error that nobody waits for.
  body.on('error', () => {});
  try {
    for await (const chunk of body) {
      const bytes: Buffer = chunk;
      yield bytes;
    }
  } finally {
    body.destroy();
  }
}

function checkAnswer(response: Dispatcher.ResponseData, kind: 'advertisement' | 'result'): void {
  const { statusCode: status, headers } = response;
  if (status === 200 && headers['content-type'] === `application/x-${SERVICE}-${kind}`) return;
  discard(response);
  if (status === 200) {
    throw invalidRequest('there is no git repository behind it, or a server of a kind that has long gone out of use');
  }
  if (status === 401 || status === 403) {
    throw invalidRequest(`its server answers ${status}: the repository is not there, or not for everybody`, {
      hint: 'For a private one give a token as a secret: RUN --mount=type=secret,id=token git clone …',
    });
  }
  if (status >= 500 || status === 429) {
    throw new DarkroomError('unavailable', `its server answers ${status}`, { retryable: true });
  }
  throw invalidRequest(`its server answers ${status}`);
}

function discard(response: Dispatcher.ResponseData): void {
  response.body.on('error', () => {});
  response.body.destroy();
}
