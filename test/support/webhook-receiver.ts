import { once } from 'node:events';
import { createServer } from 'node:http';

export interface ReceivedWebhook {
  id: string;
  headers: Record<string, string>;
  body: string;
  /** What it was answered. */
  status: number;
}

/** Somebody's server that webhooks are sent to. */
export interface WebhookReceiver {
  readonly url: string;
  readonly received: ReceivedWebhook[];
  /** What is answered from now on. */
  answer(status: number): void;
  until(fits: (webhook: ReceivedWebhook) => boolean): Promise<ReceivedWebhook>;
  close(): Promise<void>;
}

export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const received: ReceivedWebhook[] = [];
  let status = 200;
  let more = Promise.withResolvers<void>();
  const server = createServer(async (request, response) => {
    const body = (await request.setEncoding('utf8').toArray()).join('');
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    response.writeHead(status).end();
    received.push({ id: headers['svix-id'] ?? '', headers, body, status });
    more.resolve();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/hook`,
    received,
    answer(next) {
      status = next;
    },
    async until(fits) {
      for (;;) {
        const found = received.find(fits);
        if (found !== undefined) return found;
        more = Promise.withResolvers();
        await more.promise;
      }
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
