import { expect, test } from 'vitest';
import { processesIn, treeOf } from './guest-processes.ts';

const TABLE = `UID       PID       PPID      PGID      C         TTY       STIME     TIME      CMD
0         1         0         1         1         ?         04:05     0s        init
0         12        0         12        0         ?         04:05     0s        tini
0         13        12        13        3         ?         04:05     0s        sh -c 1 2 3
0         14        13        13        1         ?         04:05     10ms      sleep
1000      20        1         20        1         ?         Nov21     10ms      7 8 9
`;

test('processes are read by their first columns, whatever their names are', () => {
  const parents = processesIn(TABLE).map(({ pid, parent }) => [pid, parent]);
  expect(parents).toEqual([
    [1, 0],
    [12, 0],
    [13, 12],
    [14, 13],
    [20, 1],
  ]);
  expect(processesIn('')).toEqual([]);
});

test('a tree is a process and all below it, and nothing when it is gone', () => {
  const processes = processesIn(TABLE);
  expect(treeOf(12, processes)).toEqual([12, 13, 14]);
  expect(treeOf(99, processes)).toEqual([]);
});

test('parents in a circle, as pids that came again may show, end', () => {
  const circle = [
    { pid: 5, parent: 6 },
    { pid: 6, parent: 5 },
  ];
  expect(treeOf(5, circle)).toEqual([5, 6]);
});
