import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import type { LogLine } from './build-log.ts';
import { createBuildLogs } from './build-logs.ts';

const ID = '7e0c5b6e-9d0c-4a8c-9f44-000000000002';
const log = pino({ level: 'silent' });
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-full-log-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=1m,nr_inodes=100', 'darkroom-full-log', directory], {
    timeoutMs: 10_000,
  });
});
afterEach(async () => {
  await run('umount', ['--lazy', directory], { timeoutMs: 10_000 });
  await rm(directory, { recursive: true, force: true });
});

const fillUp = async () => {
  const { bavail, bsize } = await statfs(directory);
  await writeFile(join(directory, 'filler'), Buffer.alloc(bavail * bsize));
};
const out = (text: string) => ({ step: 1, stream: 'stdout' as const, text });

test('a full disk costs lines, which are counted, and never the build', async () => {
  const logs = await createBuildLogs({ directory, log });
  const writer = await logs.open(ID, { maxBytes: 1e9 });
  const lines: LogLine[] = [];
  const follower = (async () => {
    const signal = new AbortController().signal;
    for await (const some of logs.read(ID, { from: 0, follow: true, signal })) lines.push(...some);
  })();
  for (let index = 0; index < 100; index += 1) writer.write(out(`before ${index}`));
  await writer.flush();
  await fillUp();
  for (let index = 0; index < 1_000; index += 1) {
    writer.write(out(`during ${index} ${'x'.repeat(100)}`));
    if (index % 100 === 0) await writer.flush();
  }
  await writer.flush();
  expect(writer.tail(1, 1)[0]?.text).toMatch(/^during 999/);
  await rm(join(directory, 'filler'));
  writer.write(out('after'));
  logs.finish(ID);
  await follower;

  const note = lines.find(({ stream }) => stream === 'note');
  const during = lines.filter(({ text }) => text.startsWith('during')).length;
  expect(note?.text).toBe(`${1_000 - during} lines are missing here: the disk of the server was full`);
  expect(lines.filter(({ text }) => text.startsWith('before'))).toHaveLength(100);
  expect(lines.at(-1)).toMatchObject({ text: 'after', index: 1_100 });
  expect(lines.map(({ index }) => index)).toEqual([...new Set(lines.map(({ index }) => index))].sort((a, b) => a - b));
  await logs.close();
});

test('a disk that is full from the start gives a log as soon as there is room', async () => {
  const logs = await createBuildLogs({ directory, log });
  for (let made = 0; made < 200; made += 1) {
    if (
      await writeFile(join(directory, `no-inodes-${made}`), '').then(
        () => false,
        () => true,
      )
    )
      break;
  }
  const writer = await logs.open(ID, { maxBytes: 1e9 });
  writer.write(out('lost'));
  await writer.flush();
  await rm(join(directory, 'no-inodes-0'));
  writer.write(out('kept'));
  await writer.flush();
  const lines: LogLine[] = [];
  const signal = new AbortController().signal;
  for await (const some of logs.read(ID, { from: 0, follow: false, signal })) lines.push(...some);
  expect(lines.map(({ index, text }) => [index, text])).toEqual([
    [0, '1 line is missing here: the disk of the server was full'],
    [1, 'kept'],
  ]);
  await logs.close();
});
