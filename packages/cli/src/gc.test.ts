import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { GcItemDto } from '@darkroom/contract';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { askServer } from './ask-server.ts';
import { renderCollected, renderPlan } from './gc.ts';

let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-gc-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

test('a plan is a line for each thing, and what would go in all', () => {
  const items: GcItemDto[] = [
    { kind: 'layer', id: 'sha256:a', sizeBytes: 2_500_000, goes: 'sweep', why: 'nothing names it' },
    { kind: 'build-log', id: 'b', goes: 'sweep', why: 'its build is gone' },
    { kind: 'layer', id: 'sha256:c', sizeBytes: 1_000_000, goes: 'pressure', why: 'only the build cache keeps it' },
  ];
  const text = renderPlan({ items }, { grace: true });
  expect(text).toMatch(/^sweep +layer +2\.5 MB +sha256:a: nothing names it\n/);
  expect(text).toMatch(/\n2 of 3 would go with the next sweep, 2\.5 MB\n$/);
  items.push({ kind: 'layer', id: 'sha256:d', sizeBytes: 500_000, goes: 'grace', why: 'nothing names it' });
  expect(renderPlan({ items }, { grace: true })).toMatch(/\n2 of 4 would go with the next sweep, 2\.5 MB\n$/);
  expect(renderPlan({ items }, { grace: false })).toMatch(/\n3 of 4 would go without grace, 3\.0 MB\n$/);
});

test('what went is told, and what a later sweep takes', () => {
  const item = { kind: 'layer', goes: 'sweep', why: 'nothing names it', sizeBytes: 1_000_000 } as const;
  const left = { items: [{ ...item, id: 'b', goes: 'grace' as const }] };
  expect(renderCollected([{ ...item, id: 'a' }], left)).toMatch(
    /^layer +1\.0 MB +a: nothing names it\n1 removed, 1\.0 MB\n1 more wait for their grace, 1\.0 MB \(--no-grace takes them now\)\n$/,
  );
});

test('the server is asked with the key of its state directory, and its refusal is told', async () => {
  const server = createServer(async (request, response) => {
    const { headers, url, method } = request;
    const isAdmin = headers.authorization === 'Bearer secret';
    const body = await text(request);
    const said = body === '' ? { method, url } : { method, url, body };
    response.writeHead(isAdmin ? 200 : 403).end(JSON.stringify(isAdmin ? said : { message: 'Access denied' }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const write = (apiKey: string) =>
    writeFile(
      join(stateDir, 'credentials.json'),
      JSON.stringify({ url, apiKey, organizationId: '3a3a14ad-20e4-466b-aa7d-017f33f6ca6f' }),
    );
  try {
    await expect(askServer(stateDir, '/api/admin/gc')).rejects.toThrow('credentials.json cannot be read');
    await write('secret');
    expect(await askServer(stateDir, '/api/admin/gc')).toEqual({ method: 'GET', url: '/api/admin/gc' });
    expect(await askServer(stateDir, '/x', { method: 'POST', body: { a: 1 } })).toEqual({
      ...{ method: 'POST', url: '/x', body: '{"a":1}' },
    });
    await write('other');
    await expect(askServer(stateDir, '/api/admin/gc')).rejects.toThrow('answered 403: Access denied');
  } finally {
    server.close();
    server.closeAllConnections();
  }
  await expect(askServer(stateDir, '/api/admin/gc')).rejects.toThrow('no server answers');
});
