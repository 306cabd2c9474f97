import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BuildLogs, LogLine } from './build-log.ts';
import { createBuildLogs } from './build-logs.ts';

const ID = '7e0c5b6e-9d0c-4a8c-9f44-000000000001';
const log = pino({ level: 'silent' });
const never = new AbortController().signal;
let directory: string;
let logs: BuildLogs;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-build-logs-'));
  logs = await createBuildLogs({ directory, log });
});
afterEach(async () => {
  await logs.close();
  await rm(directory, { recursive: true, force: true });
});

const path = () => join(directory, `${ID}.log`);
const out = (text: string, step: number | undefined = 1) => ({ step, stream: 'stdout' as const, text });
const reopen = async () => {
  await logs.close();
  logs = await createBuildLogs({ directory, log });
};

async function read(from = 0, { follow = false, signal = never, of = logs } = {}): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  for await (const some of of.read(ID, { from, follow, signal })) lines.push(...some);
  return lines;
}
const texts = (lines: readonly LogLine[]) => lines.map(({ text }) => text);

async function writeLines(count: number, text = (index: number) => `line ${index}`) {
  const writer = await logs.open(ID, { maxBytes: 1e9 });
  for (let index = 0; index < count; index += 1) writer.write(out(text(index)));
  await writer.flush();
  return writer;
}

describe('a build log', () => {
  test('gives back what was written, with its step, stream and time, also what is no plain text', async () => {
    const writer = await logs.open(ID, { maxBytes: 1e6 });
    const odd = 'a "b" \\ \n \u2028 \ud800 ü 👩‍💻 \0';
    writer.write({ step: undefined, stream: 'note', text: 'begins' });
    writer.write({ step: 2, stream: 'stderr', text: odd });
    await writer.flush();
    const lines = await read();
    expect(lines).toMatchObject([
      { index: 0, step: undefined, stream: 'note', text: 'begins' },
      { index: 1, step: 2, stream: 'stderr', text: odd },
    ]);
    expect(Math.abs(Date.now() - (lines[0]?.at ?? 0))).toBeLessThan(60_000);
  });

  test('is read from any line on, however long it is', async () => {
    await writeLines(20_000, (index) => `${index} ${'x'.repeat(index % 300)}`);
    for (const from of [0, 1, 17, 4_999, 12_345, 19_999]) {
      const lines = await read(from);
      expect(lines[0]?.index).toBe(from);
      expect(lines).toHaveLength(20_000 - from);
    }
    expect(await read(20_000)).toEqual([]);
    expect((await stat(path())).size).toBeGreaterThan(2e6);
  });

  test('is empty for a build that has none', async () => {
    expect(await read()).toEqual([]);
    expect(await logs.list()).toEqual([]);
  });

  test('refuses ids that are paths', async () => {
    await expect(async () => logs.open('../x', { maxBytes: 1 })).rejects.toMatchObject({ code: 'invalid_request' });
  });

  test('goes on with its indexes after a restart', async () => {
    await writeLines(3);
    await reopen();
    const writer = await logs.open(ID, { maxBytes: 1e6 });
    writer.write(out('again'));
    await writer.flush();
    expect((await read(2)).map(({ index, text }) => [index, text])).toEqual([
      [2, 'line 2'],
      [3, 'again'],
    ]);
  });

  test('loses the torn record of a crash and nothing else, wherever it was torn', async () => {
    await writeLines(3);
    await logs.close();
    const whole = await readFile(path());
    const second = whole.lastIndexOf('\n', whole.length - 2) + 1;
    for (let length = second; length < whole.length; length += 1) {
      await writeFile(path(), whole);
      await truncate(path(), length);
      logs = await createBuildLogs({ directory, log });
      expect(texts(await read())).toEqual(['line 0', 'line 1']);
      const writer = await logs.open(ID, { maxBytes: 1e6 });
      writer.write(out('after'));
      await logs.close();
      expect((await read(2)).map(({ index, text }) => [index, text])).toEqual([[2, 'after']]);
    }
  });

  test('is not stopped by a tail of zeros that a power cut left', async () => {
    await writeLines(2);
    await logs.close();
    await writeFile(path(), Buffer.alloc(200_000), { flag: 'a' });
    logs = await createBuildLogs({ directory, log });
    expect(texts(await read())).toEqual(['line 0', 'line 1']);
    const writer = await logs.open(ID, { maxBytes: 1e6 });
    writer.write(out('after'));
    await writer.flush();
    expect(texts(await read())).toEqual(['line 0', 'line 1', 'after']);
  });

  test('takes no more output than its limit, says so, and still takes notes', async () => {
    const writer = await logs.open(ID, { maxBytes: 2_000 });
    for (let index = 0; index < 1_000; index += 1) writer.write(out('x'.repeat(50)));
    expect(writer.isFull).toBe(true);
    writer.write({ step: 1, stream: 'note', text: 'ERROR' });
    await writer.flush();
    expect(texts((await read()).slice(-2))).toEqual(['The log has reached its limit.', 'ERROR']);
    expect((await stat(path())).size).toBeLessThan(2_400);
  });

  test('keeps its notes within bounds too', async () => {
    const writer = await logs.open(ID, { maxBytes: 0 });
    for (let index = 0; index < 1_000; index += 1) {
      writer.write({ step: 1, stream: 'note', text: 'x'.repeat(1_000) });
    }
    await writer.flush();
    expect((await stat(path())).size).toBeLessThan(300_000);
  });

  test('remembers the last lines that a step wrote', async () => {
    const writer = await logs.open(ID, { maxBytes: 1e6 });
    for (let index = 0; index < 300; index += 1) {
      writer.write(out(`one ${index}`, 1));
      writer.write(out(`two ${index}`, 2));
    }
    writer.write({ step: 1, stream: 'note', text: 'ERROR' });
    expect(texts(writer.tail(1, 2))).toEqual(['one 298', 'one 299']);
    expect(writer.tail(2, 50)).toHaveLength(50);
    expect(writer.tail(3, 50)).toEqual([]);
    expect(writer.tail(1, 0)).toEqual([]);
  });

  test('goes away when it is removed', async () => {
    await writeLines(2);
    expect(await logs.list()).toEqual([ID]);
    const follower = read(0, { follow: true });
    await logs.remove(ID);
    await follower;
    expect(await read()).toEqual([]);
    expect(await logs.list()).toEqual([]);
    await logs.remove(ID);
  });
});

describe('a follower', () => {
  test('sees what is written while it reads, and ends behind the last line', async () => {
    const early = read(0, { follow: true });
    const writer = await logs.open(ID, { maxBytes: 1e6 });
    for (let index = 0; index < 500; index += 1) {
      writer.write(out(`line ${index}`));
      if (index % 50 === 0) await writer.flush();
    }
    const late = read(490, { follow: true });
    // What is not yet in the file when the end is called is not lost.
    writer.write(out('last'));
    logs.finish(ID);
    logs.finish(ID);
    expect(await early).toHaveLength(501);
    expect(texts(await late).at(-1)).toBe('last');
    expect(await read(500, { follow: true })).toHaveLength(1);
  });

  test('sees the first line without a flush', async () => {
    const writer = await logs.open(ID, { maxBytes: 1e6 });
    const reader = logs.read(ID, { from: 0, follow: true, signal: never })[Symbol.asyncIterator]();
    const first = reader.next();
    writer.write(out('first'));
    expect(texts((await first).value ?? [])).toEqual(['first']);
    await reader.return?.();
  });

  test('ends when its signal fires, also while nothing comes', async () => {
    const gone = new AbortController();
    const follower = read(0, { follow: true, signal: gone.signal });
    gone.abort();
    expect(await follower).toEqual([]);
  });

  test('of a build that a dead server was writing ends when somebody settles it', async () => {
    await writeLines(2);
    await reopen();
    const follower = read(0, { follow: true });
    logs.finish(ID);
    expect(texts(await follower)).toEqual(['line 0', 'line 1']);
  });

  test('of a build that ended before the server was restarted ends by itself', async () => {
    await writeLines(2);
    logs.finish(ID);
    await reopen();
    expect(texts(await read(0, { follow: true }))).toEqual(['line 0', 'line 1']);
    expect(await read(2, { follow: true })).toEqual([]);
  });

  test('of a build without any log ends too', async () => {
    const follower = read(0, { follow: true });
    logs.finish(ID);
    expect(await follower).toEqual([]);
    expect(await read(0, { follow: true })).toEqual([]);
  });

  test('ends when the server does', async () => {
    await writeLines(1);
    const follower = read(0, { follow: true });
    await logs.close();
    expect(await follower).toHaveLength(1);
  });

  test('follows again when a build goes on that was ended', async () => {
    await writeLines(1);
    logs.finish(ID);
    const writer = await logs.open(ID, { maxBytes: 1e6 });
    const follower = read(0, { follow: true });
    writer.write(out('more'));
    logs.finish(ID);
    expect(texts(await follower)).toEqual(['line 0', 'more']);
  });

  test('may read slowly while others read and more is written', async () => {
    const writer = await writeLines(2_000, (index) => `${index} ${'x'.repeat(100)}`);
    const slow = logs.read(ID, { from: 0, follow: true, signal: never })[Symbol.asyncIterator]();
    let seen = (await slow.next()).value?.length ?? 0;
    for (let index = 0; index < 2_000; index += 1) writer.write(out('y'));
    logs.finish(ID);
    expect(await read(0, { follow: true })).toHaveLength(4_000);
    for (let some = await slow.next(); some.done !== true; some = await slow.next()) seen += some.value.length;
    expect(seen).toBe(4_000);
  });
});
