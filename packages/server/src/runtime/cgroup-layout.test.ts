import { expect, test } from 'vitest';
import { cgroupLayout, missingControllers } from './cgroup-layout.ts';
import { parseMountInfo } from './mount-info.ts';

const LEGACY = `\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
`;
const UNIFIED_BESIDE = '36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n';

test('v1: each controller has its hierarchy, and named hierarchies have none', () => {
  const layout = cgroupLayout(parseMountInfo(LEGACY), []);
  expect(layout.mode).toBe('v1');
  expect(Object.fromEntries(layout.controllers)).toEqual({
    cpu: '/sys/fs/cgroup/cpu,cpuacct',
    cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
    memory: '/sys/fs/cgroup/memory',
    pids: '/sys/fs/cgroup/pids',
  });
  expect(layout.hierarchies).toContain('/sys/fs/cgroup/systemd');
  expect(missingControllers(layout)).toEqual([]);
});

test('hybrid: v1 with a v2 hierarchy beside it', () => {
  const layout = cgroupLayout(parseMountInfo(LEGACY + UNIFIED_BESIDE), []);
  expect(layout.mode).toBe('hybrid');
  expect(layout.hierarchies).not.toContain('/sys/fs/cgroup/unified');
});

test('v2: one hierarchy with what the kernel offers there', () => {
  const mounts = parseMountInfo('31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n');
  const layout = cgroupLayout(mounts, ['cpuset', 'cpu', 'io', 'memory']);
  expect(layout.mode).toBe('v2');
  expect(layout.controllers.get('memory')).toBe('/sys/fs/cgroup');
  expect(missingControllers(layout)).toEqual(['pids']);
});

test('without cgroups everything is missing', () => {
  const layout = cgroupLayout(parseMountInfo('27 1 254:0 / / rw - ext4 /dev/vda rw\n'), []);
  expect(layout.mode).toBe('none');
  expect(missingControllers(layout)).toEqual(['cpu', 'memory', 'pids']);
});
