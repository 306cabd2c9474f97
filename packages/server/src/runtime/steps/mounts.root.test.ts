import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StepMount } from '../step-types.ts';
import { ID_BASE, MIB, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';
import { makeLayer, runStep } from '../testing/step-lab.ts';

let lab: SandboxLab;
/** A directory of somebody else, such as a cache or a context. */
let shared: string;
beforeAll(async () => {
  lab = await openLab();
  shared = await makeLayer(lab, async (directory) => {
    await mkdir(join(directory, 'src/deep'), { recursive: true });
    await writeFile(join(directory, 'src/deep/file'), 'deep');
    await symlink('/etc', join(directory, 'out'));
    await symlink('src', join(directory, 'link'));
  });
});
afterAll(() => lab.close());

const bind = (target: string, more: Partial<Extract<StepMount, { kind: 'bind' }>> = {}): StepMount => ({
  kind: 'bind',
  root: shared,
  path: '/',
  target,
  writable: false,
  ...more,
});

describe('a directory or file of the host', () => {
  test('is read, and cannot be written', async () => {
    const step = await runStep(lab, 'cat /in/link/deep/file; echo x > /in/new; echo y > /in/src/deep/file', {
      mounts: [bind('/in')],
    });
    expect(step.stdout).toBe('deep');
    expect(step.stderr.match(/Read-only file system/g)).toHaveLength(2);
    expect(await filesIn(step.upper)).toEqual([]);
  });

  test('is written where that is allowed, by the users of the step', async () => {
    const cache = await makeLayer(lab, async () => {});
    const mounts = [bind('/cache', { root: cache, writable: true })];
    const { upper } = await runStep(lab, 'echo kept > /cache/x; chown 1000 /cache/x', { mounts });
    expect(await filesIn(upper)).toEqual([]);
    expect(await stat(join(cache, 'x'))).toMatchObject({ uid: ID_BASE + 1000 });
    expect((await runStep(lab, 'cat /cache/x', { mounts })).stdout).toBe('kept\n');
  });

  test('is found without leaving its root', async () => {
    const { stdout } = await runStep(lab, 'ls /in', { mounts: [bind('/in', { path: '/link/../link/deep' })] });
    expect(stdout).toBe('file\n');
    await expect(runStep(lab, 'ls /in', { mounts: [bind('/in', { path: '/out' })] })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(runStep(lab, 'ls /in', { mounts: [bind('/in', { path: '../../../etc' })] })).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  test('can be one file, over a file or at a place that is missing', async () => {
    const file = { path: '/src/deep/file' };
    const { stdout, upper } = await runStep(lab, 'cat /etc/passwd /opt/a/b', {
      mounts: [bind('/etc/passwd', file), bind('/opt/a/b', file)],
    });
    expect(stdout).toBe('deepdeep');
    expect(await filesIn(upper)).toEqual([]);
  });

  test('and commands, working directories and users are found in it', async () => {
    const tools = await makeLayer(lab, async (directory) => {
      await writeFile(join(directory, 'tool'), '#!/bin/sh\npwd\n', { mode: 0o755 });
    });
    const mounts = [bind('/tools', { root: tools })];
    expect(await runStep(lab, '', { argv: ['./tool'], cwd: '/tools', mounts })).toMatchObject({ stdout: '/tools\n' });
  });
});

describe('layers of another stage', () => {
  test('are merged, and read from a path in them', async () => {
    const top = await runStep(lab, 'rm /etc/group; echo top > /etc/top');
    const layers = [lab.baseLayer, top.upper];
    const { stdout, stderr } = await runStep(lab, 'ls /from; touch /from/x', {
      mounts: [{ kind: 'layers', layers, path: '/etc', target: '/from', writable: false }],
    });
    expect(stdout).toBe('passwd\ntop\n');
    expect(stderr).toContain('Read-only file system');
  });

  test('take what is written, and it is thrown away', async () => {
    const mount: StepMount = { kind: 'layers', layers: [shared], path: '/', target: '/from', writable: true };
    const { stdout, upper } = await runStep(lab, 'echo new > /from/src/deep/file; cat /from/src/deep/file', {
      mounts: [mount],
    });
    expect(stdout).toBe('new\n');
    expect(await readFile(join(shared, 'src/deep/file'), 'utf8')).toBe('deep');
    expect(await filesIn(upper)).toEqual([]);
    expect(await readdir(join(lab.poolRoot, 'tmp'))).toEqual([]);
  });

  test('can be none', async () => {
    const mount: StepMount = { kind: 'layers', layers: [], path: '/', target: '/from', writable: false };
    expect((await runStep(lab, 'ls /from', { mounts: [mount] })).stdout).toBe('');
  });
});

describe('a tree', () => {
  test.each([true, false])('stays as it is (writable: %s)', async (writable) => {
    const mount: StepMount = { kind: 'tree', root: shared, path: '/src', target: '/src', writable };
    const step = await runStep(lab, 'rm -r /src/deep; ls /src | wc -l', { mounts: [mount] });
    expect(step.stdout).toBe(writable ? '0\n' : '1\n');
    expect(await filesIn(shared)).toContain('src/deep/file');
  });
});

describe('memory', () => {
  test('a tmpfs is open to all, as large as was said, and hides what was there', async () => {
    const mount: StepMount = { kind: 'tmpfs', target: '/root', sizeBytes: MIB };
    const step = await runStep(
      lab,
      'stat -c %a /root; dd if=/dev/zero of=/root/a bs=1000 count=900; dd if=/dev/zero of=/root/b bs=1000 count=900',
      { mounts: [mount], user: 'app' },
    );
    expect(step.stdout).toBe('1777\n');
    expect(step.stderr).toContain('No space left on device');
    expect(await filesIn(step.upper)).toEqual([]);
  });

  test('shared memory can have another size', async () => {
    const mount: StepMount = { kind: 'tmpfs', target: '/dev/shm', sizeBytes: 5 * MIB };
    expect((await runStep(lab, 'df -k /dev/shm | tail -1', { mounts: [mount] })).stdout).toMatch(/\s5120\s/);
  });

  test('a secret is a file that its owner can read, and nobody can write', async () => {
    const mounts: StepMount[] = [
      { kind: 'file', target: '/run/secrets/key', content: Buffer.from('s3cret'), uid: 1000, gid: 1000, mode: 0o400 },
    ];
    const script = 'cat /run/secrets/key; stat -c " %u %g %a" /run/secrets/key; echo x > /run/secrets/key';
    const mine = await runStep(lab, script, { mounts, user: 'app' });
    expect(mine.stdout).toBe('s3cret 1000 1000 400\n');
    expect(mine.stderr).toMatch(/Permission denied|Read-only/);
    const other = await runStep(lab, 'cat /run/secrets/key', { mounts, user: '5' });
    expect(other).toMatchObject({ stdout: '', exitCode: 1 });
    const root = await runStep(lab, 'echo x > /run/secrets/key; chmod 777 /run/secrets/key', { mounts });
    expect(root.stderr.match(/Read-only file system/g)).toHaveLength(2);
    expect(await filesIn(root.upper)).toEqual([]);
  });
});

test('a file can be a program, also below /dev', async () => {
  const script = {
    kind: 'file',
    uid: 0,
    gid: 0,
    mode: 0o755,
    content: Buffer.from('#!/bin/sh\necho ran as $0\n'),
  } as const;
  for (const target of ['/dev/pipes/EOF', '/run/EOF']) {
    const step = await runStep(lab, '', { argv: [target], mounts: [{ ...script, target }], user: 'app' });
    expect(step).toMatchObject({ stdout: `ran as ${target}\n`, exitCode: 0 });
    expect(await filesIn(step.upper)).toEqual([]);
  }
});

describe('places to mount on', () => {
  test('are not in the layer, but what is written beside them is', async () => {
    const old = await makeLayer(lab, async (directory) => {
      await mkdir(join(directory, 'srv/app'), { recursive: true, mode: 0o750 });
    });
    const { stdout, upper } = await runStep(
      lab,
      'stat -c "%a %u %Y" /srv/app; echo x > /srv/app/beside; ls -A /srv/app | sort; ls /srv/app/cache/deep/src',
      { layers: [lab.baseLayer, old], mounts: [bind('/srv/app/cache/deep')] },
    );
    const { mode, mtimeMs } = await stat(join(old, 'srv/app'));
    expect(stdout).toBe(`${(mode & 0o7777).toString(8)} 0 ${Math.floor(mtimeMs / 1000)}\nbeside\ncache\ndeep\n`);
    expect(await filesIn(upper)).toEqual(['srv', 'srv/app', 'srv/app/beside']);
    expect((await stat(join(upper, 'srv/app'))).mode & 0o7777).toBe(mode & 0o7777);
  });

  test('are followed through links of the image, also through ones that lead nowhere', async () => {
    const odd = await makeLayer(lab, async (directory) => {
      await symlink('/data/../var/lost', join(directory, 'cache'));
    });
    const { stdout, upper } = await runStep(lab, 'ls /var/lost/place/src', {
      layers: [lab.baseLayer, odd],
      mounts: [bind('/cache/place')],
    });
    expect(stdout).toBe('deep\n');
    expect(await filesIn(upper)).toEqual([]);
  });

  test('may be missing inside of another mount that nobody can write', async () => {
    const cache = await makeLayer(lab, async () => {});
    const step = await runStep(lab, 'ls /src; echo x > /src/src/modules/new; ls /src/src; touch /src/y', {
      mounts: [bind('/src'), bind('/src/src/modules', { root: cache, writable: true }), bind('/src/src/deep/a/b')],
    });
    expect(step).toMatchObject({ stdout: 'link\nout\nsrc\ndeep\nmodules\n' });
    expect(step.stderr).toContain('Read-only file system');
    expect(await readdir(cache)).toEqual(['new']);
    expect(await readdir(join(shared, 'src'))).toEqual(['deep']);
    expect(await filesIn(step.upper)).toEqual([]);
  });

  test('may be those of the step’s own network, under a directory that has none', async () => {
    const { stdout, upper } = await runStep(lab, 'ls /etc; grep -c localhost /etc/hosts', { mounts: [bind('/etc')] });
    expect(stdout).toBe('hostname\nhosts\nlink\nout\nresolv.conf\nsrc\n2\n');
    expect((await readdir(shared)).sort()).toEqual(['link', 'out', 'src']);
    expect(await filesIn(upper)).toEqual([]);
  });

  test('are made in memory and in what is thrown away', async () => {
    const step = await runStep(lab, 'cat /tmp/a/secret', {
      mounts: [
        { kind: 'tmpfs', target: '/tmp', sizeBytes: undefined },
        { kind: 'file', target: '/tmp/a/secret', content: Buffer.from('x'), uid: 0, gid: 0, mode: 0o400 },
      ],
    });
    expect(step).toMatchObject({ stdout: 'x', exitCode: 0 });
  });

  test.each([
    '/',
    '/proc',
    '/proc/sys',
    '/sys/fs',
    '/dev',
    '/.darkroom',
    '/.darkroom/tini',
    'relative',
    '/etc/passwd/x',
  ])('%s is refused', async (target) => {
    await expect(runStep(lab, 'true', { mounts: [bind(target)] })).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('a file over a directory is refused, and the other way round', async () => {
    for (const mount of [bind('/etc', { path: '/src/deep/file' }), bind('/etc/passwd')]) {
      await expect(runStep(lab, 'true', { mounts: [mount] })).rejects.toMatchObject({ code: 'invalid_request' });
    }
    expect(await readdir(join(lab.runDir, 'steps'))).toEqual([]);
  });
});

async function filesIn(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).sort();
}
