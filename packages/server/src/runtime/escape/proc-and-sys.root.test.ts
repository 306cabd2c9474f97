import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ATTACKER, CANARY, type EscapeLab, expectUnharmed, openEscapeLab } from './escape-lab.ts';

let lab: EscapeLab;
beforeAll(async () => {
  lab = await openEscapeLab();
});
afterEach(() => expectUnharmed(lab));
afterAll(() => lab?.close());

test('no file of /proc and /sys can be opened for writing but a process’s own', async () => {
  const { stdout } = await lab.sh(
    ATTACKER,
    `python3 - <<'END'
import os
writable = []
for top in ('/proc', '/sys'):
  for directory, names, files in os.walk(top):
    names[:] = [name for name in names if not (directory == '/proc' and (name.isdigit() or name in ('self', 'thread-self')))]
    for name in files:
      path = os.path.join(directory, name)
      try:
        if os.path.islink(path): continue
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        if os.stat(path).st_rdev != os.makedev(1, 3): writable.append(path)
      except OSError:
        pass
print(writable)
END`,
  );
  expect(stdout.trim()).toBe('[]');
});

test('what steers the kernel cannot be written by any of its names', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
for top in ('', '/proc/1/root', '/proc/self/root', '/proc/self/cwd'):
  for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sys/kernel/hostname', '/proc/sys/kernel/sysrq',
      '/proc/sys/kernel/ns_last_pid', '/proc/sys/vm/drop_caches', '/proc/sys/vm/overcommit_memory', '/proc/sys/fs/file-max',
      '/proc/sys/fs/binfmt_misc/register', '/proc/sys/net/ipv4/ip_forward', '/proc/sysrq-trigger', '/proc/pressure/memory',
      '/proc/irq/default_smp_affinity', '/proc/bus/pci', '/sys/kernel/uevent_helper', '/sys/kernel/mm/hugepages', '/sys/power/state',
      '/sys/fs/cgroup/release_agent', '/sys/fs/cgroup/memory/release_agent', '/sys/module/kernel/parameters/panic'):
    attempt('write ' + top + path, lambda: write(top + path, 'x'))
for path in ('/proc/1/uid_map', '/proc/self/uid_map', '/proc/self/gid_map', '/proc/self/projid_map', '/proc/self/setgroups'):
  attempt('write ' + path, lambda: write(path, '0 0 1'))
`,
  );
  expect(Object.entries(outcomes).filter(([, outcome]) => outcome === 'done')).toEqual([]);
});

test('nothing of the kernel’s memory, of its log or of the hardware can be read', async () => {
  const { stdout } = await lab.sh(
    ATTACKER,
    `for file in kcore kmsg kallsyms kpagecount kpageflags keys key-users timer_list interrupts sched_debug slabinfo vmallocinfo
do timeout 5 head -c 100 /proc/$file 2>/dev/null; done
find /sys/firmware /proc/acpi /proc/scsi /proc/asound -mindepth 1 2>/dev/null
ls /sys/kernel/debug /sys/kernel/tracing /sys/kernel/security /sys/fs/bpf 2>/dev/null | grep -v ':$'
dmesg 2>/dev/null; true`,
  );
  expect(stdout.trim()).toBe('');
});

test('there is no disk, no memory and no bus to open, and none can be made', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
for major, minor, name in ((8, 0, 'sda'), (254, 0, 'vda'), (259, 0, 'nvme0n1'), (7, 0, 'loop0')):
  attempt('block device ' + name, lambda: os.mknod('/tmp/' + name, 0o60666, os.makedev(major, minor)))
for major, minor, name in ((1, 1, 'mem'), (1, 2, 'kmem'), (1, 4, 'port'), (1, 11, 'kmsg'), (10, 232, 'kvm'), (10, 200, 'tun'), (10, 229, 'fuse'), (0, 0, 'whiteout')):
  attempt('character device ' + name, lambda: os.mknod('/tmp/' + name, 0o20666, os.makedev(major, minor)))
attempt('in /dev', lambda: os.mknod('/dev/sda', 0o60666, os.makedev(8, 0)))
attempt('in /dev/shm', lambda: os.mknod('/dev/shm/sda', 0o60666, os.makedev(8, 0)))
`,
  );
  expect(Object.entries(outcomes).filter(([, outcome]) => outcome !== 'EPERM')).toEqual([]);
  const { stdout } = await lab.sh(ATTACKER, 'find / -xdev -type b; find /dev -type b; ls /dev');
  expect(stdout.trim().split('\n').sort()).toEqual([
    'core',
    'fd',
    'full',
    'mqueue',
    'null',
    'ptmx',
    'pts',
    'random',
    'shm',
    'stderr',
    'stdin',
    'stdout',
    'tty',
    'urandom',
    'zero',
  ]);
});

test('cgroups can be neither written, mounted nor left', async () => {
  const outcomes = await lab.attempts(
    ATTACKER,
    `
import glob
for path in glob.glob('/sys/fs/cgroup/**', recursive=True):
  if os.path.isfile(path): attempt('write ' + path, lambda: write(path, '0'))
attempt('make one', lambda: os.mkdir('/sys/fs/cgroup/x'))
note('own', all(line.split(':', 2)[2].strip() == '/' for line in open('/proc/self/cgroup')))
`,
  );
  const { own, ...rest } = outcomes;
  expect(own).toBe('True');
  expect(Object.entries(rest).filter(([, outcome]) => outcome === 'done')).toEqual([]);
});

test('no path leads to the neighbour or to the host', async () => {
  const host = `${lab.poolRoot}/sandboxes`;
  const { stdout } = await lab.sh(
    ATTACKER,
    `for top in / /proc/1/root /proc/self/root /proc/1/cwd /proc/self/cwd /proc/1/root/../.. /proc/self/fd/0/../../..
do cat $top/../../../${host}/neighbour/upper/root/canary $top/root/canary $top/dev/shm/canary $top/etc/shadow 2>/dev/null
ls $top/${host} 2>/dev/null; done; true`,
  );
  expect(stdout).not.toContain(CANARY);
  expect(stdout.trim()).toBe('');
});
