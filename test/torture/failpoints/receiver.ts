import { once } from 'node:events';
import { createServer } from 'node:http';

/** Where webhooks go in these tests. */
export interface Receiver {
  url: string;
  /** Bodies by the id of their delivery, each once for each time that it came. */
  arrived: Map<string, string[]>;
  close(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const arrived = new Map<string, string[]>();
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    const id = String(request.headers['svix-id']);
    arrived.set(id, [...(arrived.get(id) ?? []), body]);
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}/hook`,
    arrived,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
