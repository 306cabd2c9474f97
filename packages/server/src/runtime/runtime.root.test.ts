import { existsSync } from 'node:fs';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readMounts } from './mount-info.ts';
import { openLab, type SandboxLab } from './testing/sandbox-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
});
afterAll(() => lab?.close());

describe('the life of a sandbox', () => {
  test('files stay from one run to the next, processes do not', async () => {
    await lab.start('keeps');
    await lab.sh('keeps', 'echo hello > /root/file; sleep 1000 >/dev/null 2>&1 &');
    await lab.runtime.stop('keeps', { graceMs: 0 });
    expect(await lab.runtime.list()).toContainEqual({ id: 'keeps', running: false, paused: false, pid: undefined });
    await lab.start('keeps');
    expect(await lab.sh('keeps', 'cat /root/file; ps | grep "[s]leep"')).toMatchObject({
      stdout: 'hello\n',
      exitCode: 1,
    });
  });

  test('a second start of a running one is a conflict and harms nothing', async () => {
    await lab.start('twice');
    await expect(lab.start('twice')).rejects.toMatchObject({ code: 'conflict' });
    expect(await lab.sh('twice', 'echo still here')).toMatchObject({ stdout: 'still here\n' });
  });

  test('stop lets processes end by themselves, and does not wait longer than it was told', async () => {
    await lab.start('polite');
    await lab.sh(
      'polite',
      `(trap 'echo ended > /root/note; exit' TERM; while :; do sleep 0.05; done) >/dev/null 2>&1 &`,
    );
    await lab.runtime.stop('polite', { graceMs: 10_000 });
    await lab.start('polite');
    expect(await lab.sh('polite', 'cat /root/note')).toMatchObject({ stdout: 'ended\n' });

    await lab.sh('polite', `(trap '' TERM; while :; do sleep 0.05; done) >/dev/null 2>&1 &`);
    await lab.runtime.stop('polite', { graceMs: 200 });
    expect((await lab.runtime.list()).find(({ id }) => id === 'polite')?.running).toBe(false);
  });

  test('a stopped sandbox answers commands and files with a conflict', async () => {
    await lab.start('stopped');
    await lab.runtime.stop('stopped', { graceMs: 0 });
    await expect(lab.sh('stopped', 'true')).rejects.toMatchObject({ code: 'conflict' });
    await expect(lab.runtime.files('stopped').stat('/etc')).rejects.toMatchObject({ code: 'conflict' });
    await lab.runtime.stop('stopped', { graceMs: 0 });
  });

  test('remove takes everything, running or not, once or twice', async () => {
    await lab.start('removed');
    await lab.runtime.remove('removed');
    await lab.runtime.remove('removed');
    expect((await lab.runtime.list()).map(({ id }) => id)).not.toContain('removed');
    expect(existsSync(join(lab.poolRoot, 'sandboxes', 'removed'))).toBe(false);
    expect(existsSync(join(lab.runDir, 'containers', 'removed'))).toBe(false);
    expect(existsSync(join(lab.runDir, 'crun', 'removed'))).toBe(false);
    expect(await readdir(join(lab.poolRoot, 'tmp'))).toEqual([]);
  });

  test('the end of a sandbox by itself is told, an end that was asked for is not', async () => {
    const ends: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    lab.runtime.onExit(({ id, reason }) => {
      ends.push(`${id}: ${reason}`);
      resolve();
    });
    await lab.start('asked');
    await lab.runtime.stop('asked', { graceMs: 0 });
    await lab.start('itself');
    await lab.sh('itself', 'kill -TERM 1');
    await promise;
    expect(ends).toEqual(['itself: ended']);
    await lab.start('itself');
  });
});

describe('a start that fails', () => {
  test('leaves nothing mounted, nothing running and no directory', async () => {
    await expect(lab.start('broken', { layers: ['/nowhere/diff', lab.baseLayer] })).rejects.toThrow(/layers/);
    expect((await lab.runtime.list()).map(({ id }) => id)).not.toContain('broken');
    expect((await readMounts()).filter(({ target }) => target.includes('broken'))).toEqual([]);
    expect(existsSync(join(lab.runDir, 'containers', 'broken'))).toBe(false);
    await lab.start('broken');
    expect(await lab.sh('broken', 'echo fine')).toMatchObject({ stdout: 'fine\n' });
  });

  test('after crun began leaves nothing of crun, and keeps the files of an earlier run', async () => {
    await lab.start('spoiled');
    await lab.sh('spoiled', 'echo kept > /root/file; rm -rf /sys 2>/dev/null');
    await lab.runtime.stop('spoiled', { graceMs: 0 });
    // A cgroup limit that the kernel refuses: the mount is made by then, and crun is at work.
    const limits = { cpu: 1, memoryBytes: 4096, pids: 0 };
    await expect(lab.start('spoiled', { limits })).rejects.toMatchObject({ name: 'DarkroomError' });
    expect(existsSync(join(lab.runDir, 'crun', 'spoiled'))).toBe(false);
    expect((await readMounts()).filter(({ target }) => target.includes('spoiled'))).toEqual([]);
    await lab.start('spoiled');
    expect(await lab.sh('spoiled', 'cat /root/file')).toMatchObject({ stdout: 'kept\n' });
  });

  test('an id that could be a path, an option or too long is refused', async () => {
    for (const id of ['../x', '-x', 'a/b', '', 'a'.repeat(65)]) {
      await expect(lab.start(id)).rejects.toMatchObject({ code: 'invalid_request' });
      await expect(lab.runtime.remove(id)).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });
});

test('a tree that is deeper than a path may be long goes with its sandbox, and keeps no server from starting', async () => {
  const script = 'for i in $(seq 300); do mkdir -p abcdefgh && cd abcdefgh || exit; done';
  await lab.start('abyss');
  await lab.sh('abyss', `cd /root; ${script}; mkdir /root/2; mv /root/abcdefgh /root/2; cd /root; ${script}`);
  const nested = await lab.sh('abyss', 'cd /root; for i in $(seq 300); do cd abcdefgh; done; mv /root/2 .');
  expect(nested).toMatchObject({ exitCode: 0, stderr: '' });
  await lab.runtime.remove('abyss');
  expect(await readdir(join(lab.poolRoot, 'tmp'))).toEqual([]);
});

test('a closed runtime does not say that a sandbox is stopped or gone', async () => {
  await lab.start('outlives');
  await lab.runtime.close();
  const unavailable = { code: 'unavailable' };
  await expect(lab.runtime.stop('outlives', { graceMs: 0 })).rejects.toMatchObject(unavailable);
  await expect(lab.runtime.remove('outlives')).rejects.toMatchObject(unavailable);
  await lab.reopen();
  expect(await lab.sh('outlives', 'echo lives')).toMatchObject({ stdout: 'lives\n' });
});

describe('layers', () => {
  test('a hundred are mounted in their order', async () => {
    const layers = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const layer = join(lab.poolRoot, 'layers', `deep-${i}`, 'diff');
        await mkdir(join(layer, 'root'), { recursive: true });
        await writeFile(join(layer, 'root', 'top'), `${i}\n`);
        await writeFile(join(layer, 'root', `own-${i}`), '');
        return layer;
      }),
    );
    await lab.start('deep', { layers: [lab.baseLayer, ...layers] });
    expect(await lab.sh('deep', 'cat /root/top; ls /root | grep -c own')).toMatchObject({ stdout: '99\n100\n' });
  });

  test('what a sandbox writes is in its own directory only, and Darkroom adds nothing to it', async () => {
    await lab.start('writes');
    await lab.sh('writes', 'echo x > /root/new; mkdir -p /a/b; mv /a /c');
    await lab.runtime.stop('writes', { graceMs: 0 });
    const upper = join(lab.poolRoot, 'sandboxes', 'writes', 'upper');
    expect((await readdir(upper, { recursive: true })).sort()).toEqual(['c', 'c/b', 'root', 'root/new']);
    expect((await stat(upper)).mode).toBe((await stat(lab.baseLayer)).mode);
    await expect(stat(join(lab.baseLayer, 'root/new'))).rejects.toThrow(/ENOENT/);
  });
});

test('thirty at once all start, and go again', async () => {
  const ids = Array.from({ length: 30 }, (_, i) => `many-${i}`);
  await Promise.all(ids.map((id) => lab.start(id)));
  const outputs = await Promise.all(ids.map((id) => lab.sh(id, 'hostname')));
  expect(outputs.map(({ stdout }) => stdout.trim())).toEqual(ids);
  await Promise.all(ids.map((id) => lab.runtime.remove(id)));
  expect((await lab.runtime.list()).filter(({ id }) => id.startsWith('many-'))).toEqual([]);
});
