import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SessionLog } from './session-log.ts';

const KIB = 1024;
let directory: string;
let log: SessionLog;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-log-'));
  log = new SessionLog({ directory, maxBytes: 1024 * KIB });
});
afterEach(async () => {
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

async function read(from = 0, to = log.end): Promise<{ stdout: Buffer; stderr: Buffer }> {
  const pieces = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  for await (const { stream, data } of log.read(from, to)) pieces[stream].push(data);
  return { stdout: Buffer.concat(pieces.stdout), stderr: Buffer.concat(pieces.stderr) };
}

test('what was appended comes back by stream, from memory and from files without a name', async () => {
  const expected = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  for (let count = 0; count < 200; count += 1) {
    const stream = count % 3 === 0 ? 'stderr' : 'stdout';
    const data = Buffer.alloc((count * 37) % 4000, count);
    expected[stream].push(data);
    log.append(stream, data);
  }
  await log.append('stdout', Buffer.from('last'));
  expected.stdout.push(Buffer.from('last'));
  const found = await read();
  expect(found.stdout.equals(Buffer.concat(expected.stdout))).toBe(true);
  expect(found.stderr.equals(Buffer.concat(expected.stderr))).toBe(true);
  expect(await readdir(directory)).toEqual([]);
});

test('a range between two ends is what was appended between them', async () => {
  await log.append('stdout', Buffer.from('before'));
  const from = log.end;
  await log.append('stdout', Buffer.alloc(100 * KIB, 'x'));
  const to = log.end;
  await log.append('stdout', Buffer.from('behind'));
  expect((await read(from, to)).stdout.equals(Buffer.alloc(100 * KIB, 'x'))).toBe(true);
  expect((await read(from, from)).stdout).toHaveLength(0);
});

test('what is too much is dropped from the oldest on, and who reads it is told', async () => {
  await log.append('stdout', Buffer.from('first'));
  for (let count = 0; count < 40; count += 1) await log.append('stdout', Buffer.alloc(64 * KIB, count));
  const { stdout, stderr } = await read();
  expect(stderr.toString()).toMatch(/^\[output truncated: about \d+ earlier bytes were dropped\]\n$/);
  expect(stdout.length).toBeLessThanOrEqual(1024 * KIB);
  expect(stdout.length).toBeGreaterThan(800 * KIB);
  expect(stdout.at(-1)).toBe(39);
  expect((await read(0, 10)).stdout).toHaveLength(0);
});

test('a reader whose place is dropped while it reads goes on where there is something', async () => {
  for (let count = 0; count < 8; count += 1) await log.append('stdout', Buffer.alloc(64 * KIB, 1));
  const reader = log.read(0, Number.MAX_SAFE_INTEGER);
  await reader.next();
  for (let count = 0; count < 40; count += 1) await log.append('stdout', Buffer.alloc(64 * KIB, 2));
  const streams = new Set<string>();
  let last: number | undefined;
  for await (const { stream, data } of reader) {
    streams.add(stream);
    last = data.at(-1);
  }
  expect([...streams].sort()).toEqual(['stderr', 'stdout']);
  expect(last).toBe(2);
});

test('a directory that takes nothing loses output, says so once, and goes on when it does', async () => {
  await rm(directory, { recursive: true });
  for (let count = 0; count < 10; count += 1) await log.append('stdout', Buffer.alloc(32 * KIB, 'x'));
  const { stdout, stderr } = await read();
  expect(stdout).toHaveLength(32 * KIB);
  expect(stderr.toString()).toMatch(/^\n\[output is lost here, keeping it failed: ENOENT[^\]]*\]\n$/);
});

test('a log that is closed while it is read is read to its end, and takes nothing more', async () => {
  await log.append('stdout', Buffer.alloc(300 * KIB, 'x'));
  const reader = log.read(0, log.end);
  let length = (await reader.next()).value?.data.length ?? 0;
  await log.close();
  await log.append('stdout', Buffer.from('late'));
  for await (const { data } of reader) length += data.length;
  expect(length).toBe(300 * KIB);
  expect((await read(0, Number.MAX_SAFE_INTEGER)).stdout).toHaveLength(0);
});

test('whoever waits for a change is woken by it, by one that was before, and by giving up', async () => {
  const never = new AbortController();
  const { version } = log.changes;
  const waiting = log.changes.changedSince(version, never.signal);
  await log.append('stdout', Buffer.from('x'));
  await waiting;
  await log.changes.changedSince(version, never.signal);
  const given = log.changes.changedSince(log.changes.version, never.signal);
  never.abort();
  await given;
});
