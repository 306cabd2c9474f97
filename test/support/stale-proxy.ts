import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';

/** Stands between a client and a server. What it answers to chosen requests stays as it was: who polls them learns nothing new. */
export interface StaleProxy {
  readonly url: string;
  /** From now on a GET of this path is answered with what it was answered with last. */
  freeze(path: string): void;
  thaw(): void;
  /** How often the event channel has taken a client in. */
  channelsOpened(): number;
  /** Resolves when the event channel has taken so many clients in, counted from the beginning. */
  channelOpened(times: number): Promise<void>;
  close(): Promise<void>;
}

const TAKEN_IN = '40{"sid"';

export async function startStaleProxy(target: string): Promise<StaleProxy> {
  const { hostname, port } = new URL(target);
  const last = new Map<string, { status: number; type: string; body: Buffer }>();
  const frozen = new Set<string>();
  const sockets = new Set<Socket>();
  let opened = 0;
  let more = Promise.withResolvers<void>();

  async function forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = incoming.url ?? '/';
    const known = incoming.method === 'GET' && frozen.has(path) ? last.get(path) : undefined;
    if (known !== undefined) {
      response.writeHead(known.status, { 'content-type': known.type }).end(known.body);
      return;
    }
    const sent = request({ hostname, port, path, method: incoming.method, headers: incoming.headers, agent: false });
    incoming.pipe(sent);
    const [answer]: IncomingMessage[] = await once(sent, 'response');
    if (answer === undefined) throw new Error('no answer');
    const body = Buffer.concat(await answer.toArray());
    const status = answer.statusCode ?? 500;
    const type = answer.headers['content-type'] ?? 'application/octet-stream';
    if (incoming.method === 'GET') last.set(path, { status, type, body });
    response.writeHead(status, { 'content-type': type }).end(body);
  }

  const server = createServer((incoming, response) => {
    forward(incoming, response).catch(() => response.destroy());
  });
  server.on('upgrade', (incoming: IncomingMessage, client: Socket) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    const pairs = Array.from({ length: incoming.rawHeaders.length / 2 }, (_, n) =>
      incoming.rawHeaders.slice(2 * n, 2 * n + 2).join(': '),
    );
    upstream.write(`GET ${incoming.url} HTTP/1.1\r\n${pairs.join('\r\n')}\r\n\r\n`);
    upstream.on('data', (data: Buffer) => {
      if (!data.includes(TAKEN_IN)) return;
      opened++;
      more.resolve();
    });
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();

  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    freeze: (path) => void frozen.add(path),
    thaw: () => frozen.clear(),
    channelsOpened: () => opened,
    async channelOpened(times) {
      while (opened < times) {
        await more.promise;
        more = Promise.withResolvers();
      }
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
