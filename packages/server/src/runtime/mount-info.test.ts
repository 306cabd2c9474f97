import { expect, test } from 'vitest';
import { mountAt, parseMountInfo, readMounts } from './mount-info.ts';

const TEXT = `\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 master:3 - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
60 27 7:0 / /with\\040space\\134x rw,nosuid - xfs /dev/loop0 rw
61 27 7:1 /sub /with\\040space\\134x ro shared:4 - xfs /dev/loop1 rw
`;

test('a line is read whatever number of optional fields it has', () => {
  const mounts = parseMountInfo(TEXT);
  expect(mounts).toHaveLength(5);
  expect(mounts[0]).toMatchObject({
    id: 27,
    parentId: 1,
    target: '/',
    type: 'ext4',
    source: '/dev/vda',
    shared: false,
  });
  expect(mounts[1]).toMatchObject({ target: '/sys/fs/cgroup', type: 'tmpfs', shared: true });
  expect(mounts[2]?.superOptions).toEqual(['rw', 'cpu', 'cpuacct']);
});

test('escaped characters of a path are read', () => {
  expect(parseMountInfo(TEXT)[3]?.target).toBe('/with space\\x');
});

test('of several mounts over one directory the last is what it shows', () => {
  expect(mountAt(parseMountInfo(TEXT), '/with space\\x')).toMatchObject({ source: '/dev/loop1', root: '/sub' });
  expect(mountAt(parseMountInfo(TEXT), '/with')).toBeUndefined();
});

test('the mounts of this process have /proc', async () => {
  expect(mountAt(await readMounts(), '/proc')?.type).toBe('proc');
});
