import { chmod, chown, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { getXattr } from '../../platform/libc.ts';
import { readMounts } from '../mount-info.ts';
import { ID_BASE, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';
import { makeLayer, makeUpper, remainsOfSteps, runStep, stepSpec } from '../testing/step-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
});
afterAll(() => lab.close());

describe('what a step says', () => {
  test('both outputs and the exit code come back', async () => {
    const step = await runStep(lab, 'echo out; echo err >&2; exit 3');
    expect(step).toMatchObject({ stdout: 'out\n', stderr: 'err\n', exitCode: 3, exceeded: undefined });
    expect(step.peakMemoryBytes).toBeGreaterThan(0);
  });

  test('its input is empty', async () => {
    expect(await runStep(lab, 'cat; echo end')).toMatchObject({ stdout: 'end\n', exitCode: 0 });
  });

  test('a signal is an exit code of 128 and its number', async () => {
    expect(await runStep(lab, 'kill -TERM $$')).toMatchObject({ exitCode: 143 });
  });

  test('a program that is missing or none ends as in a shell', async () => {
    expect(await runStep(lab, '', { argv: ['nothing-there'] })).toMatchObject({
      exitCode: 127,
      stderr: 'nothing-there: command not found\n',
    });
    expect(await runStep(lab, '', { argv: ['/etc/passwd'] })).toMatchObject({ exitCode: 126 });
    expect(await runStep(lab, '', { layers: [], argv: ['/bin/sh'] })).toMatchObject({ exitCode: 127 });
  });

  test('an argument that no program can be given ends it like one that cannot be started', async () => {
    const step = await runStep(lab, `: ${'x'.repeat(200_000)}`);
    expect(step).toMatchObject({ exitCode: 126, stderr: '/bin/sh: argument list too long\n' });
  });

  test('output that nobody reads makes it wait, and nothing is lost', async () => {
    const step = await runStep(lab, 'head -c 3000000 /dev/zero | tr "\\0" x');
    expect(step.stdout.length).toBe(3_000_000);
  });

  test('what it leaves in the background ends with it', async () => {
    const step = await runStep(lab, '(setsid sleep 1000 &) ; sleep 1000 & echo done');
    expect(step).toMatchObject({ stdout: 'done\n', exitCode: 0 });
  });
});

describe('who and where it is', () => {
  test('users are those of its own files, with their homes', async () => {
    const { stdout } = await runStep(lab, 'id -u; id -g; echo $HOME; pwd', { user: 'app', cwd: '/tmp' });
    expect(stdout).toBe('1000\n1000\n/home/app\n/tmp\n');
    expect((await runStep(lab, 'id -u; id -g; echo $HOME', { user: '7:8' })).stdout).toBe('7\n8\n/\n');
  });

  test('its environment is its own', async () => {
    const { stdout } = await runStep(lab, 'env | sort | grep -v APT_CONFIG | grep -v /.darkroom', {
      env: { HOME: '/elsewhere', A: 'b c' },
    });
    expect(stdout).toMatch(/^A=b c\nHOME=\/elsewhere\nPATH=.*\nPWD=\/\nSHLVL=1\n$/);
  });

  test('users and working directories that are not there are refused, and nothing is left', async () => {
    await expect(runStep(lab, 'true', { user: 'nobody-here' })).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(runStep(lab, 'true', { cwd: '/nowhere' })).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(runStep(lab, 'true', { cwd: 'tmp' })).rejects.toMatchObject({ code: 'invalid_request' });
    expect(await remainsOfSteps(lab)).toEqual([]);
  });
});

describe('what becomes the layer', () => {
  test('changes in overlay form, with shifted owners, and nothing else', async () => {
    const lower = await makeLayer(lab, async (directory) => {
      await mkdir(join(directory, 'data/old'), { recursive: true });
      await writeFile(join(directory, 'data/old/file'), '1');
      await writeFile(join(directory, 'data/gone'), '1');
    });
    const { upper } = await runStep(
      lab,
      'echo new > /root/new; chown 1000:1000 /root/new; rm /data/gone; rm -r /data/old; mkdir /data/old; echo 2 > /data/old/other',
      { layers: [lab.baseLayer, lower] },
    );
    expect(await filesIn(upper)).toEqual(['data', 'data/gone', 'data/old', 'data/old/other', 'root', 'root/new']);
    expect(await lstat(join(upper, 'root/new'))).toMatchObject({ uid: ID_BASE + 1000, gid: ID_BASE + 1000 });
    const whiteout = await lstat(join(upper, 'data/gone'));
    expect([whiteout.isCharacterDevice(), whiteout.rdev]).toEqual([true, 0]);
    expect(getXattr(join(upper, 'data/old'), 'trusted.overlay.opaque')?.toString()).toBe('y');
    expect(await readdir(dirname(upper))).toEqual(['diff']);
    expect(await remainsOfSteps(lab)).toEqual([]);
  });

  test('one that changes nothing leaves nothing, also where the image has odd places to mount on', async () => {
    const odd = await makeLayer(lab, async (directory) => {
      await mkdir(join(directory, 'etc'));
      await symlink('../run/resolver/stub.conf', join(directory, 'etc/resolv.conf'));
    });
    const { upper, stdout } = await runStep(lab, 'grep -c nameserver /etc/resolv.conf', {
      layers: [lab.baseLayer, odd],
    });
    expect(Number(stdout)).toBeGreaterThan(0);
    expect(await filesIn(upper)).toEqual([]);
  });

  test('the root of the file system keeps its mode and owner', async () => {
    const top = await makeUpper(lab);
    await chmod(top, 0o751);
    await chown(top, ID_BASE + 5, ID_BASE + 6);
    const { upper, stdout } = await runStep(lab, 'stat -c "%a %u %g" /', { layers: [lab.baseLayer, top] });
    expect(stdout).toBe('751 5 6\n');
    expect(await stat(upper)).toMatchObject({ uid: ID_BASE + 5, gid: ID_BASE + 6 });
  });

  test('an image may have a layer several times', async () => {
    const empty = await makeLayer(lab, async (directory) => writeFile(join(directory, 'mark'), '1'));
    const layers = [empty, lab.baseLayer, empty, empty];
    expect(await runStep(lab, 'cat /mark', { layers })).toMatchObject({ stdout: '1', exitCode: 0 });
    const tree = await lab.runtime.steps.openTree([empty, empty]);
    expect(await readdir(`/proc/self/fd/${tree.directory}`)).toEqual(['mark']);
    tree.close();
  });

  test('the next step sees what the one before has left', async () => {
    const first = await runStep(lab, 'echo one > /one; rm /etc/group');
    const second = await runStep(lab, 'cat /one; ls /etc/group', { layers: [lab.baseLayer, first.upper] });
    expect(second).toMatchObject({ stdout: 'one\n', exitCode: 1 });
  });

  test('what the step finds in /etc about its network is not in it', async () => {
    const { upper } = await runStep(lab, 'echo 10.0.0.1 me >> /etc/hosts; cat /etc/hosts');
    expect(await filesIn(upper)).toEqual([]);
  });
});

describe('the network of a step', () => {
  test('is the one of sandboxes', async () => {
    const { stdout } = await runStep(lab, 'ls /sys/class/net; ip route | wc -l');
    expect(stdout).toMatch(/^eth0\nlo\n[1-9]/);
  });

  test('or a loopback interface alone', async () => {
    const { stdout } = await runStep(lab, 'ls /sys/class/net; ip route | wc -l; ping -c 1 127.0.0.1 >/dev/null; echo', {
      network: 'none',
    });
    expect(stdout).toBe('lo\n0\n\n');
  });
});

test('many at once do not come into each other’s way', async () => {
  const steps = await Promise.all(
    Array.from({ length: 12 }, (_, index) => runStep(lab, `echo ${index} > /mine; cat /mine`)),
  );
  expect(steps.map(({ stdout }) => stdout)).toEqual(steps.map((_, index) => `${index}\n`));
  expect(await remainsOfSteps(lab)).toEqual([]);
});

test('a second step of the same name is refused while the first runs', async () => {
  const spec = await stepSpec(lab, 'sleep 1000');
  const step = await lab.runtime.steps.run(spec);
  await expect(lab.runtime.steps.run(spec)).rejects.toMatchObject({ code: 'conflict' });
  await step.kill();
  expect(await step.exited).toMatchObject({ exitCode: 137, exceeded: undefined });
});

describe('merged trees', () => {
  test('show layers as a step would see them, and nothing of ours', async () => {
    const { upper } = await runStep(lab, 'echo new > /new; rm -r /home');
    const tree = await lab.runtime.steps.openTree([lab.baseLayer, upper]);
    try {
      const names = await readdir(`/proc/self/fd/${tree.directory}`);
      expect(names).toContain('new');
      expect(names).not.toContain('home');
      expect(names).not.toContain('.darkroom');
      await expect(writeFile(`/proc/self/fd/${tree.directory}/x`, '')).rejects.toThrow(/EROFS/);
      expect(
        (await readMounts()).filter(({ target }) => target.startsWith(lab.runDir)).map(({ type }) => type),
      ).not.toContain('overlay');
    } finally {
      tree.close();
      tree.close();
    }
  });

  test('of no layers and of one', async () => {
    const none = await lab.runtime.steps.openTree([]);
    expect(await readdir(`/proc/self/fd/${none.directory}`)).toEqual([]);
    none.close();
    const { upper } = await runStep(lab, 'rm /etc/group');
    const marks = await lab.runtime.steps.openTree([upper]);
    expect(await readdir(`/proc/self/fd/${marks.directory}/etc`)).toEqual([]);
    marks.close();
    const one = await lab.runtime.steps.openTree([lab.baseLayer]);
    expect(await readFile(`/proc/self/fd/${one.directory}/etc/passwd`, 'utf8')).toContain('app:');
    one.close();
  });
});

async function filesIn(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).sort();
}
