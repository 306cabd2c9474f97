import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createRemoteAgent, type RemoteAgent } from '../builds/files/remote-agent.ts';
import { checkUrl } from './check-url.ts';
import { sendWebhook } from './send.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
let receiver: Server;
let port: number;
let received: { headers: IncomingHttpHeaders; body: string }[] = [];
let answer: { status: number; location?: string } = { status: 200 };
const agents: RemoteAgent[] = [];

beforeAll(async () => {
  receiver = createServer(async (request, response) => {
    const body = (await request.setEncoding('utf8').toArray()).join('');
    received.push({ headers: request.headers, body });
    const { status, ...headers } = answer;
    response.writeHead(status, headers).end();
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const address = receiver.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
afterAll(() => {
  receiver.closeAllConnections();
  receiver.close();
});
afterEach(async () => {
  received = [];
  answer = { status: 200 };
  for (const agent of agents.splice(0)) await agent.close();
});

function send(url: string, allowInternal: boolean) {
  const agent = createRemoteAgent({ allowInternal, caFiles: [] });
  agents.push(agent);
  const hook = { id: 'msg_1', url, payload: '{"event":"snapshot.created"}', secrets: [SECRET] };
  return sendWebhook(agent, hook, new AbortController().signal);
}

it('is signed so that libraries of Standard Webhooks believe it, and nothing that was changed', async () => {
  expect(await send(`http://127.0.0.1:${port}/hook`, true)).toEqual({ ok: true, status: 200, error: null });
  const [sent] = received;
  const headers = Object.fromEntries(Object.entries(sent?.headers ?? {}).map(([name, value]) => [name, String(value)]));
  expect(new Webhook(SECRET).verify(sent?.body ?? '', headers)).toEqual({ event: 'snapshot.created' });
  expect(headers['svix-signature']).toBe(headers['webhook-signature']);
  expect(() => new Webhook(SECRET).verify('{"event":"snapshot.removed"}', headers)).toThrow();
});

it('does not reach this machine or its network by a name that leads there only when it is called', async () => {
  // What a name means is not asked when the endpoint is made: it may mean something else by then.
  expect(() => checkUrl(`https://localhost:${port}/`, false)).not.toThrow();
  for (const host of ['localhost', '127.0.0.1', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0', '10.0.0.1', '192.168.0.1']) {
    expect(await send(`http://${host}:${port}/hook`, false), host).toEqual({
      ...{ ok: false, status: null },
      error: 'It leads to an address that webhooks are not sent to',
    });
  }
  expect(received).toEqual([]);
});

it("never reaches a cloud's metadata service, whatever the operator allows", async () => {
  expect((await send('http://169.254.169.254/latest', true)).error).toContain('leads to an address');
});

it('does not go where a redirect points to', async () => {
  answer = { status: 307, location: `http://127.0.0.1:${port}/elsewhere` };
  expect(await send(`http://127.0.0.1:${port}/hook`, true)).toEqual({
    ...{ ok: false, status: 307 },
    error: 'It answered 307',
  });
  expect(received).toHaveLength(1);
});
