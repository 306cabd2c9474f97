import { mkdtemp, rm, stat, statfs, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Daytona, Image, type Sandbox } from '@daytona/sdk';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { run } from '../../packages/server/src/platform/process.ts';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';

/** A disk that is nearly full: what is new is refused, what runs goes on, and when there is room again, so does all. */
let darkroom: Darkroom;
let daytona: Daytona;
let sandbox: Sandbox;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-pressure-'));
  await writeFile(join(directory, 'file'), 'x');
  darkroom = await startDarkroom({
    config: {
      registries: { mirrors: { 'docker.io': [inject('registryUrl')] } },
      pool: { maxBytes: 2 * 2 ** 30, makeRoomAtPercent: 70, refuseAtPercent: 85 },
    },
  });
  daytona = new Daytona({ apiKey: darkroom.apiKey, apiUrl: `${darkroom.url}/api` });
  await darkroom.api('/snapshots', { method: 'POST', body: { name: 'kept', imageName: inject('baseImage') } });
  await eventually('the snapshot is active', async () => {
    const { state } = await jsonOf<{ state: string }>(darkroom.api('/snapshots/kept'));
    return state === 'active' || undefined;
  });
  sandbox = await daytona.create({ snapshot: 'kept' });
}, 120_000);
afterAll(async () => {
  await darkroom?.destroy();
  await rm(directory, { recursive: true, force: true });
});

const pool = () => join(darkroom.stateDir, 'pool');
const filler = () => join(pool(), 'filler');

async function fillTo(percent: number): Promise<void> {
  const { blocks, bfree, bsize } = await statfs(pool());
  const before = await stat(filler()).then(
    ({ size }) => size,
    () => 0,
  );
  const bytes = Math.ceil(blocks * bsize * (percent / 100) - (blocks - bfree) * bsize) + before;
  if (bytes < before) await truncate(filler(), bytes);
  else await run('fallocate', ['-l', String(bytes), filler()], { timeoutMs: 60_000 });
}

const messageOf = (refused: Promise<unknown>) =>
  refused.then(
    () => 'was done',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

async function metric(name: string): Promise<number> {
  const lines = (await (await fetch(`${darkroom.url}/metrics`)).text()).split('\n');
  return Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length) ?? 0);
}

test('above the high mark what is new is refused in words that an SDK shows, and what runs goes on', async () => {
  await fillTo(90);
  const refusal = /The disk of the server is \d+ % full, and nothing new is begun above 85 %/;
  // A look at the disk is good for a second.
  await eventually('new work is refused', async () => {
    const said = await messageOf(daytona.create({ snapshot: 'kept' }).then((made) => made.delete()));
    return refusal.test(said) || undefined;
  });
  await expect(daytona.create({ snapshot: 'kept' })).rejects.toMatchObject({ statusCode: 507 });
  for (const refused of [
    () => daytona.snapshot.create({ name: 'new', image: inject('baseImage') }),
    () => daytona.snapshot.create({ name: 'up', image: Image.base('alpine:3.20').addLocalDir(directory, '/app') }),
    () => sandbox.createSnapshot('captured'),
    () => sandbox.fork(),
  ]) {
    expect(await messageOf(refused())).toMatch(refusal);
  }
  const written = await sandbox.process.executeCommand('dd if=/dev/zero of=/file bs=1M count=20 && sync && echo done');
  expect(written.result).toContain('done');
  await sandbox.fs.uploadFile(Buffer.from('small'), '/small');
  expect(await metric('darkroom_disk_pressure')).toBe(2);
  expect(await metric('darkroom_disk_refusals_total')).toBeGreaterThan(4);
});

test('when there is room work begins again, and above the low mark what nothing needs goes without grace', async () => {
  await fillTo(75);
  const made = await eventually('work begins again', () => daytona.create({ snapshot: 'kept' }).catch(() => undefined));
  expect((await made.process.executeCommand('echo again')).result).toContain('again');
  expect(await metric('darkroom_disk_pressure')).toBe(1);
  for (const each of [made, sandbox]) await each.delete();
  await daytona.snapshot.delete(await daytona.snapshot.get('kept'));
  const removed = await eventually('its layers are removed', async () => {
    const count = await metric('darkroom_gc_removed_total{kind="layer"}');
    return count > 0 ? count : undefined;
  });
  expect(removed).toBeGreaterThan(0);
}, 60_000);
