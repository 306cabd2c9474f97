import { execFile } from 'node:child_process';
import { closeSync, existsSync, lstatSync, openSync, readSync, utimesSync, writeSync } from 'node:fs';
import { mkdir, readdir, readlink, truncate } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type FsckLineDto, fsckLineSchema } from '@darkroom/contract';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RegistryServer, startRegistryServer } from '../../packages/server/src/images/testing/registry-server.ts';
import { type BuiltSnapshot, buildsOf } from '../support/builds.ts';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { makeImages } from '../torture/images.ts';

/** `darkroom fsck` over what a server has really made, while it runs and while it does not. */
let darkroom: Darkroom;
let registry: RegistryServer;
beforeAll(async () => {
  registry = await startRegistryServer();
  const [plain] = await makeImages();
  if (plain === undefined) throw new Error('there is no image');
  await registry.push('small:1', plain.image);
  darkroom = await startDarkroom();
});
afterAll(async () => {
  await darkroom?.destroy();
  await registry?.close();
});

interface Sandbox {
  id: string;
  state: string;
  errorReason: string | null;
}

type Found = Extract<FsckLineDto, { type: 'finding' }>;

const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'darkroom');
const LIMIT_MS = 60_000;

function fsck(flags: readonly string[], env: Record<string, string> = {}): Promise<{ code: number; out: string }> {
  const { stateDir } = darkroom;
  const args = [LAUNCHER, 'fsck', '--state-dir', stateDir, '--config', `${stateDir}.yml`, ...flags];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: LIMIT_MS, env: { ...process.env, ...env } }, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, out: out + err }),
    );
  });
}

async function findings(flags: readonly string[]): Promise<{ code: number; kinds: string[]; found: Found[] }> {
  const { code, out } = await fsck(['--json', ...flags]);
  const lines = out
    .trim()
    .split('\n')
    .map((line) => fsckLineSchema.parse(JSON.parse(line)));
  const found = lines.filter((line) => line.type === 'finding');
  return { code, found, kinds: found.map(({ kind, outcome }) => `${kind} ${outcome}`).sort() };
}

const clean = { code: 0, out: expect.stringMatching(/^Nothing is wrong; looked for [\d.]+ s\.\n$/) };
const layersAt = () => join(darkroom.stateDir, 'pool', 'layers');
const snapshot = (name: string) => jsonOf<BuiltSnapshot>(darkroom.api(`/snapshots/${name}`));
const sandbox = (id: string) => jsonOf<Sandbox>(darkroom.api(`/sandbox/${id}`));
const inState = (id: string, state: string) =>
  eventually(`sandbox ${id} is ${state}`, async () => ((await sandbox(id)).state === state ? true : undefined));

/** Directories of layers by id, in the order in which they were made. */
async function layers(): Promise<{ id: string; directory: string }[]> {
  const names = await readdir(join(layersAt(), 'by-diff-id'));
  const all = await Promise.all(
    names.map(async (id) => ({ id, number: basename(await readlink(join(layersAt(), 'by-diff-id', id))) })),
  );
  return all
    .sort((a, b) => Number(a.number) - Number(b.number))
    .map(({ id, number }) => ({ id, directory: join(layersAt(), 'layers', number) }));
}

/** As a bad disk does it. */
function flipByte(path: string): void {
  const { atime, mtime } = lstatSync(path);
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, 0);
  writeSync(fd, Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, 0);
  closeSync(fd);
  utimesSync(path, atime, mtime);
}

test(
  'what a disk has lost is found and repaired without a server, also when that is killed in the middle, and with one',
  async () => {
    const builds = buildsOf(darkroom);
    const built = await builds.start('built', [`FROM ${registry.host}/small:1`, 'RUN echo made > /made']);
    expect(await builds.ended(built)).toMatchObject({ state: 'active' });
    const post = (path: string, body: object) => darkroom.api(path, { method: 'POST', body });
    const first = await jsonOf<Sandbox>(post('/sandbox', { snapshot: 'built' }));
    expect((await post(`/sandbox/${first.id}/snapshot`, { name: 'captured' })).status).toBe(200);
    const resting = await jsonOf<Sandbox>(post('/sandbox', { snapshot: 'built' }));
    await post(`/sandbox/${resting.id}/stop`, {});
    await inState(resting.id, 'stopped');
    await eventually('what the layers are is written down', async () =>
      (await layers()).every(({ directory }) => existsSync(join(directory, 'tree'))) ? true : undefined,
    );
    expect(await fsck(['--deep'])).toEqual(clean);

    await darkroom.stop();
    expect(await fsck([])).toEqual(clean);
    const all = await layers();
    const pulled = all.filter(({ id }) => id.startsWith('sha256:'));
    const base = pulled.find(({ directory }) => existsSync(join(directory, 'diff', 'mark', 'image')));
    const made = all.find(({ directory }) => existsSync(join(directory, 'diff', 'made')));
    if (base === undefined || made === undefined) throw new Error('the layers are not there');
    flipByte(join(base.directory, 'diff', 'mark', 'image'));
    flipByte(join(made.directory, 'diff', 'made'));
    await truncate(join(base.directory, 'layer.json'), 20);
    await mkdir(join(darkroom.stateDir, 'pool', 'tmp', 'stray'));

    const offline = await findings(['--deep']);
    expect(offline.code).toBe(1);
    expect(offline.kinds).toEqual(
      expect.arrayContaining(['layer-damaged found', 'layer-damaged found', 'layer-record found', 'temporary found']),
    );
    const killed = await fsck(['--deep', '--repair'], { DARKROOM_FAILPOINTS: 'repair.set-aside=kill' });
    expect(killed).toMatchObject({ code: 2, out: expect.stringContaining('SIGKILL') });
    const repaired = await fsck(['--deep', '--repair']);
    expect(repaired, repaired.out).toMatchObject({ code: 1, out: expect.stringContaining('repaired layer-damaged') });
    // It runs on a layer that nobody can make again, and stays; nothing else does.
    const left = await findings(['--deep', '--repair']);
    expect(left).toMatchObject({ code: 1, kinds: ['layer-damaged found'] });
    expect(left.found[0]).toMatchObject({ id: made.id, repair: null });

    await darkroom.restart();
    const again = buildsOf(darkroom);
    expect(await again.ended(built)).toMatchObject({ state: 'active' });
    expect(await again.inSandbox(built, 'cat /made /mark/image')).toMatch(/^made\nplain/);
    expect(await snapshot('captured')).toMatchObject({
      state: 'error',
      errorReason: expect.stringContaining('capture it again'),
    });
    expect(await sandbox(resting.id)).toMatchObject({
      state: 'error',
      errorReason: expect.stringContaining('damaged on the disk (/made: its'),
    });
    // What ran all the time still does.
    expect(await sandbox(first.id)).toMatchObject({ state: 'started' });
    for (const copy of [
      post(`/sandbox/${first.id}/snapshot`, { name: 'copied' }),
      post(`/sandbox/${first.id}/fork`, {}),
    ]) {
      const answer = await copy;
      expect([answer.status, await answer.text()]).toEqual([409, expect.stringContaining('is damaged')]);
    }
    for (const id of [first.id, resting.id]) await darkroom.api(`/sandbox/${id}`, { method: 'DELETE' });
    await eventually('they are gone', async () =>
      (await darkroom.api(`/sandbox/${first.id}`)).status === 404 ? true : undefined,
    );

    expect(await fsck([])).toEqual(clean);
    flipByte(join(base.directory, 'diff', 'mark', 'image'));
    expect(await findings(['--deep', '--repair'])).toMatchObject({ code: 0, kinds: ['layer-damaged repaired'] });
    expect(await fsck(['--deep'])).toEqual(clean);
    const events = await jsonOf<{ items: { actor: string; reason: string | null }[] }>(
      darkroom.api(`/snapshots/${built.id}/events`),
    );
    expect(JSON.stringify(events)).toContain('It was fetched again.');
  },
  LIMIT_MS * 4,
);
