import { once } from 'node:events';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { PortApi } from '@daytona/toolbox-api-client';
import { describe, expect, test } from 'vitest';
import { python } from '../../test-support/layers.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: python });
const { clients, connectNewest } = officialClients(lab);

/** As a browser opens it, which leads names below `localhost` to this machine by itself. */
async function open(address: string, headers: Record<string, string> = {}): Promise<{ status?: number; body: string }> {
  const url = new URL(address);
  expect(url.hostname).toMatch(/\.localhost$/);
  const sent = request({
    host: '127.0.0.1',
    port: url.port,
    path: url.pathname,
    headers: { host: url.host, ...headers },
  });
  sent.end();
  const [answer] = await once(sent, 'response');
  return { status: answer.statusCode, body: await text(answer) };
}

describe.each(clients)('%s', (_name, connect) => {
  test('shows a port by its token and by a signed URL, until that is expired', async () => {
    const sandbox = await connect().create();
    await sandbox.process.executeCommand('mkdir -p /srv && echo hello > /srv/index.html');
    await sandbox.process.executeCommand('cd /srv && python3 -m http.server 8000 >/dev/null 2>&1 &');
    const link = await sandbox.getPreviewLink(8000);
    const shown = { 'x-daytona-preview-token': link.token };
    await expect.poll(() => open(link.url, shown), { timeout: 20_000 }).toEqual({ status: 200, body: 'hello\n' });
    expect((await open(link.url)).status).toBe(401);
    expect((await open(link.url, { authorization: `Bearer ${lab.apiKey}` })).status).toBe(200);

    const signed = await sandbox.getSignedPreviewUrl(8000, 600);
    expect(signed).toMatchObject({ sandboxId: sandbox.id, port: 8000 });
    expect((await open(signed.url)).body).toBe('hello\n');
    await sandbox.expireSignedPreviewUrl(8000, signed.token);
    expect((await open(signed.url)).status).toBe(401);
    expect((await open((await sandbox.getSignedPreviewUrl(8000)).url)).body).toBe('hello\n');
    await expect(sandbox.getSignedPreviewUrl(8000, 100_000)).rejects.toMatchObject({ statusCode: 400 });
    await sandbox.delete();
  });
});

test('the toolbox client tells which ports something listens on', async () => {
  const sandbox = await connectNewest().create();
  const ports = new PortApi(undefined, `${lab.server.url}/toolbox/${sandbox.id}`);
  const options = { headers: { authorization: `Bearer ${lab.apiKey}` } };
  expect((await ports.getPorts(options)).data).toEqual({ ports: [] });
  await sandbox.process.executeCommand('python3 -m http.server -b 127.0.0.1 8000 >/dev/null 2>&1 &');
  await expect.poll(async () => (await ports.getPorts(options)).data, { timeout: 20_000 }).toEqual({ ports: [8000] });
  expect((await ports.isPortInUse(8000, options)).data).toEqual({ isInUse: true });
  expect((await ports.isPortInUse(8001, options)).data).toEqual({ isInUse: false });
  await expect(ports.isPortInUse(0, options)).rejects.toMatchObject({ response: { status: 400 } });
  await sandbox.delete();
});
