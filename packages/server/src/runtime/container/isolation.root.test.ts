import { existsSync } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ID_BASE, openLab, type SandboxLab, shell } from '../testing/sandbox-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
  await lab.start('one', { env: { SECRET: 'of-one' } });
  await lab.start('two');
});
afterAll(() => lab?.close());

async function pidOf(id: string): Promise<number> {
  const pid = (await lab.runtime.list()).find((status) => status.id === id)?.pid;
  if (pid === undefined) throw new Error(`${id} does not run`);
  return pid;
}

function field(status: string, name: string): string[] {
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.split(/\s+/) ?? [];
}

const app = { uid: 1000, gid: 1000, additionalGids: [], home: '/home/app', name: 'app' };
/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, AUDIT_WRITE, SETFCAP. */
const CAPABILITIES = '00000000a00405fb';
const NONE = '0000000000000000';

describe('a process of a sandbox', () => {
  test('is an ordinary user of the host, pid 1 and commands alike', async () => {
    const status = await readFile(`/proc/${await pidOf('one')}/status`, 'utf8');
    expect(field(status, 'Uid')).toEqual(Array(4).fill(String(ID_BASE)));
    expect(field(status, 'Gid')).toEqual(Array(4).fill(String(ID_BASE)));
    expect((await lab.sh('one', 'cat /proc/self/uid_map')).stdout.trim().split(/\s+/)).toEqual([
      '0',
      String(ID_BASE),
      '1000000000',
    ]);
  });

  test('has Docker’s capabilities but for raw sockets and device nodes, a filter, and can get no more', async () => {
    const own = await readFile(`/proc/${await pidOf('one')}/status`, 'utf8');
    const command = (await lab.sh('one', 'cat /proc/self/status')).stdout;
    for (const status of [own, command]) {
      expect(field(status, 'CapEff')).toEqual([CAPABILITIES]);
      expect(field(status, 'CapBnd')).toEqual([CAPABILITIES]);
      expect(field(status, 'CapAmb')).toEqual([NONE]);
      expect(field(status, 'CapInh')).toEqual([NONE]);
      expect(field(status, 'NoNewPrivs')).toEqual(['1']);
      expect(field(status, 'Seccomp')).toEqual(['2']);
      expect(field(status, 'Seccomp_filters')).toEqual(['1']);
    }
  });

  test('of another user holds no capability', async () => {
    const { stdout } = await lab.sh('one', 'cat /proc/self/status; id -u', { user: app });
    expect(field(stdout, 'CapEff')).toEqual([NONE]);
    expect(field(stdout, 'CapPrm')).toEqual([NONE]);
    expect(field(stdout, 'CapBnd')).toEqual([CAPABILITIES]);
    expect(stdout).toMatch(/^1000$/m);
  });

  test('can make no namespace, mount nothing, and change no host name', async () => {
    const attempts = ['unshare -U true', 'unshare -m true', 'mount -t tmpfs x /tmp', 'umount /proc', 'hostname other'];
    for (const attempt of attempts) {
      const { exitCode, stderr } = await lab.sh('one', attempt);
      expect([attempt, exitCode === 0, /not permitted|denied/i.test(stderr)]).toEqual([attempt, false, true]);
    }
  });

  test('has nothing of the server’s open', async () => {
    const links = await readdir(`/proc/${await pidOf('one')}/fd`);
    // 3 is init's own signalfd.
    expect(links.sort()).toEqual(['0', '1', '2', '3']);
    const { stdout } = await lab.sh('one', 'ls /proc/$$/fd; true');
    expect(stdout.trim().split(/\s+/)).toEqual(['0', '1', '2']);
  });

  test('cannot be given the host’s /dev/null, nor change any device', async () => {
    // The command of an entry point, too, which has no input.
    const path = join(lab.runDir, 'output');
    await using output = await open(path, 'w+');
    const script = 'cat; echo "input over"; ls -ld /proc/$$/fd/0';
    const process = await lab.runtime.exec('one', { ...shell(script), outputFd: output.fd });
    expect(await process.exited).toMatchObject({ exitCode: 0 });
    expect(await readFile(path, 'utf8')).toMatch(/^input over\n.* -> pipe:/);
    expect((await stat('/dev/null')).uid).toBe(0);
    for (const device of ['null', 'zero', 'full', 'random', 'urandom', 'tty']) {
      const { exitCode } = await lab.sh('one', `chmod 0 /dev/${device} 2>/dev/null`);
      expect([device, exitCode]).toEqual([device, 1]);
    }
    const { stdout } = await lab.sh('one', 'find /dev -type c -o -type b | sort');
    const expected = ['full', 'null', 'pts/ptmx', 'random', 'tty', 'urandom', 'zero'];
    expect(stdout.trim().split('\n')).toEqual(expected.map((name) => `/dev/${name}`));
  });

  test('cannot make device nodes, nor raw sockets', async () => {
    expect((await lab.sh('one', 'mknod /tmp/disk b 8 0')).exitCode).not.toBe(0);
    expect((await lab.sh('one', 'ping -c 1 -W 1 127.0.0.1')).stderr).toMatch(/permission denied|not permitted/i);
  });

  test('sees nothing of the machine through /proc and /sys, and changes nothing there', async () => {
    const { stdout } = await lab.sh(
      'one',
      'wc -c < /proc/keys; wc -c < /proc/timer_list; ls /sys/firmware | wc -l; wc -c < /proc/interrupts',
    );
    expect(stdout.trim().split(/\s+/)).toEqual(['0', '0', '0', '0']);
    for (const path of [
      '/proc/sys/kernel/core_pattern',
      '/proc/sysrq-trigger',
      '/sys/kernel/uevent_helper',
      '/sys/power/state',
    ]) {
      if (!existsSync(path)) continue;
      const { stderr } = await lab.sh('one', `echo x > ${path}`);
      expect([path, /read-only|denied|not permitted/i.test(stderr)]).toEqual([path, true]);
    }
  });

  test('cannot write the programs that Darkroom brings along', async () => {
    const { exitCode } = await lab.sh('one', 'echo x > /.darkroom/init || rm /.darkroom/tini || mv /.darkroom /x');
    expect(exitCode).not.toBe(0);
  });
});

describe('two sandboxes', () => {
  test('have their own processes, files, names and memory', async () => {
    await lab.sh('one', 'echo private > /root/mine; echo x > /dev/shm/mine; sleep 1000 >/dev/null 2>&1 &');
    const { stdout } = await lab.sh('two', 'ls /root /dev/shm; ps | grep "[s]leep"; hostname');
    expect(stdout).toBe('/dev/shm:\n\n/root:\ntwo\n');
  });

  test('cannot read each other’s environment, and it is in no command line', async () => {
    await lab.sh('one', 'sleep 1001 >/dev/null 2>&1 &');
    expect((await lab.sh('one', 'echo $SECRET')).stdout).toBe('of-one\n');
    expect((await lab.sh('one', 'cat /proc/1/environ')).stdout).not.toContain('of-one');
    expect((await lab.sh('two', 'cat /proc/*/environ')).stdout).not.toContain('of-one');
  });

  test('do not find each other’s directory from within their own', async () => {
    const { stdout } = await lab.sh('two', `ls ${join(lab.poolRoot, 'sandboxes')} 2>&1; ls /proc/1/root/../../tmp`);
    expect(stdout).not.toContain('one');
  });
});
