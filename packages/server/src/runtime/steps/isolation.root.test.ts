import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ID_BASE, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';
import { finishStep, runStep, stepSpec } from '../testing/step-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
});
afterAll(() => lab.close());

const says = async (script: string) => {
  const { stdout, stderr } = await runStep(lab, script);
  return `${stdout}${stderr}`.trim();
};

describe('a step has the protections of sandboxes', () => {
  test('no new privileges, a seccomp filter, and few capabilities in a user namespace', async () => {
    const status = await says('grep -E "^(NoNewPrivs|Seccomp|CapEff|CapBnd|CapAmb):" /proc/self/status');
    await lab.start('compare');
    const { stdout } = await lab.sh(
      'compare',
      'grep -E "^(NoNewPrivs|Seccomp|CapEff|CapBnd|CapAmb):" /proc/self/status',
    );
    expect(status).toBe(stdout.trim());
    expect(status).toMatch(/NoNewPrivs:\t1/);
    expect(status).toMatch(/Seccomp:\t2/);
    expect(await says('cat /proc/self/uid_map')).toMatch(new RegExp(`^0\\s+${ID_BASE}\\s`));
    expect((await runStep(lab, 'grep CapEff /proc/self/status', { user: 'app' })).stdout).toMatch(/0000000000000000/);
  });

  test('the same places are masked or cannot be written', async () => {
    const script =
      'cat /proc/kcore | head -c 1 | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/domainname; :';
    await lab.start('masked');
    const sandbox = await lab.sh('masked', script);
    expect(await says(script)).toBe(`${sandbox.stdout}${sandbox.stderr}`.trim());
  });

  test('nothing can be mounted, unmounted or made a device', async () => {
    expect(await says('mount -t tmpfs tmpfs /mnt && echo done')).not.toContain('done');
    expect(await says('umount /etc/hosts && echo done')).not.toContain('done');
    expect(await says('umount /proc && echo done')).not.toContain('done');
    expect(await says('mknod /disk b 8 0 && echo done')).not.toContain('done');
    expect(await says('unshare -U true && echo done')).not.toContain('done');
  });

  test('pid 1 is a small init, and processes of nobody else are seen', async () => {
    expect(await says('tr "\\0" " " < /proc/1/cmdline | cut -d" " -f1-2; ls -d /proc/[0-9]* | wc -l')).toMatch(
      /^\/\.darkroom\/tini --\n[2-6]$/,
    );
  });

  test('it has three descriptors', async () => {
    // The last of its own is the directory that it reads.
    const own = await runStep(lab, '', { argv: ['/bin/ls', '/proc/self/fd'] });
    expect(own.stdout).toBe('0\n1\n2\n3\n');
    const init = await runStep(lab, '', { argv: ['/bin/ls', '/proc/1/fd'] });
    expect(init.stdout).toBe('0\n1\n2\n');
  });

  test('devices of an image open nothing, and the tools cannot be changed', async () => {
    expect(await says('ls /dev | sort | tr "\\n" " "')).not.toMatch(/loop|vda|sda|kmsg|fuse/);
    expect(await says('echo x > /.darkroom/tini; rm /.darkroom/tini; touch /.darkroom/x')).toMatch(
      /(Read-only file system[\s\S]*){3}/,
    );
  });
});

test('steps at the same time do not see one another', async () => {
  const held = await lab.runtime.steps.run(await stepSpec(lab, 'echo secret > /tmp/of-mine; echo begun; sleep 1000'));
  const finished = finishStep(held);
  await once(held.stdout, 'data');
  expect(await says('ls /tmp; ps -o args | grep -c "sleep 1000$"')).not.toContain('of-mine');
  await held.kill();
  await finished;
});

test('files of the host are not there', async () => {
  const mark = join(lab.poolRoot, 'mark-of-the-host');
  await writeFile(mark, 'x');
  expect(await says(`cat ${mark} /proc/1/root${mark} /../..${mark} && echo done`)).not.toContain('done');
});
