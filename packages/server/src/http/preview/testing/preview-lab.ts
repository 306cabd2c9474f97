import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { json } from 'node:stream/consumers';
import type { PortPreviewUrlDto } from '@darkroom/contract';
import WebSocket from 'ws';
import { type HttpClient, httpClient } from '../../../test-support/http-client.ts';
import { python } from '../../../test-support/layers.ts';
import { startTestServer, type TestServer, type TestServerOptions } from '../../../test-support/test-server.ts';
import { type Program, startProgram } from './program.ts';

export const PER_SANDBOX = 64;

export interface Asked extends RequestOptions {
  host?: string;
  body?: string | Buffer;
}

/** What the program says that it got. */
export interface Echo {
  method: string;
  path: string;
  headers: [string, string][];
  body: string;
  trailers: string[] | null;
}

/** A server with a private sandbox, in which a program listens on port 3000 of the loopback. */
export interface PreviewLab {
  server: TestServer;
  api: HttpClient;
  key: string;
  otherKey: string;
  weakKey: string;
  sandboxId: string;
  token: string;
  serverPort(): number;
  hostOf(name: string, port?: number): string;
  /** To the server's address, whatever host is meant. Without options: the program, with the right token. */
  begin(path: string, options?: Asked): ClientRequest;
  ask(path: string, options?: Asked): Promise<IncomingMessage>;
  echo(path: string, options?: Asked): Promise<Echo>;
  /** Nothing of ours in the request: what a stranger sends. */
  stranger(headers?: Record<string, string>, host?: string): { headers: string[] };
  openSocket(path: string, headers?: Record<string, string>, host?: string): WebSocket;
  startProgram(sandboxId: string): Promise<Program>;
  /** Restarts the server, and the program, which had it as its parent. */
  restart(): Promise<void>;
}

export async function openPreviewLab(preview: TestServerOptions['preview'] = {}): Promise<PreviewLab> {
  const server = await startTestServer({
    preview: {
      maxConnectionsPerSandbox: PER_SANDBOX,
      maxConnections: 2 * PER_SANDBOX,
      domain: 'preview.test',
      ...preview,
    },
  });
  const organizationId = await server.addOrganization();
  const key = await server.addKey(organizationId);
  await server.addSnapshot(organizationId, python, { name: 'default' });
  const api = httpClient(() => server.url, key);
  const sandboxId: string = (await api.post('/api/sandbox', { networkBlockAll: true })).body.id;
  const link: PortPreviewUrlDto = (await api.get(`/api/sandbox/${sandboxId}/ports/3000/preview-url`)).body;
  const { token } = link;
  let program = await startProgram(server.runtime, sandboxId, 3000);

  const serverPort = () => Number(new URL(server.url).port);
  const hostOf = (name: string, port = 3000) => `${port}-${name}.localhost:${serverPort()}`;
  function begin(path: string, { host = hostOf(sandboxId), headers = {}, ...options }: Asked = {}): ClientRequest {
    const shown = Array.isArray(headers) ? headers : { host, 'x-daytona-preview-token': token, ...headers };
    return request({ port: serverPort(), path, agent: false, ...options, headers: shown });
  }
  async function ask(path: string, options: Asked = {}): Promise<IncomingMessage> {
    const sent = begin(path, options);
    sent.end(options.body);
    return answerTo(sent);
  }
  return {
    server,
    api,
    key,
    otherKey: await server.addKey(await server.addOrganization()),
    weakKey: await server.addKey(organizationId, ['write:snapshots']),
    sandboxId,
    token,
    serverPort,
    hostOf,
    begin,
    ask,
    echo: async (path, options = {}) => (await json(await ask(path, options))) as Echo,
    stranger: (headers = {}, host = hostOf(sandboxId)) => ({
      headers: ['host', host, ...Object.entries(headers).flat()],
    }),
    openSocket: (path, headers = {}, host = hostOf(sandboxId)) =>
      new WebSocket(`ws://127.0.0.1:${serverPort()}${path}`, { headers: { host, ...headers } }),
    startProgram: (id) => startProgram(server.runtime, id, 3000),
    async restart() {
      await program.stop();
      await server.restart();
      program = await startProgram(server.runtime, sandboxId, 3000);
    },
  };
}

export async function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  const [answer] = await once(sent, 'response');
  return answer;
}

export const headersOf = ({ headers }: Echo) => new Map(headers.map(([name, value]) => [name.toLowerCase(), value]));
