import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { TerminalProcess } from '../../../runtime/types.ts';
import { TerminalSession } from './terminal-session.ts';
import type { TerminalEnd, TerminalViewer } from './viewers.ts';

/** A terminal as the runtime gives one, whose program is the test. */
function terminal(open?: () => Promise<void>) {
  const stream = new PassThrough();
  const exited = Promise.withResolvers<{ exitCode: number; signal: string | undefined }>();
  const calls: string[] = [];
  const process: TerminalProcess = {
    stream,
    resize: ({ cols, rows }) => void calls.push(`${cols}x${rows}`),
    exited: exited.promise,
    async killTree() {
      calls.push('kill');
      exited.resolve({ exitCode: 137, signal: 'SIGKILL' });
      stream.end();
    },
  };
  let uses = 0;
  const session = new TerminalSession({
    id: 's',
    cwd: '/',
    env: {},
    cols: 80,
    rows: 24,
    lazyStart: true,
    async open() {
      calls.push('open');
      await open?.();
      return process;
    },
    beginUse: () => {
      uses += 1;
      return () => {
        uses -= 1;
      };
    },
    touch: () => {},
  });
  return { session, stream, exited, calls, uses: () => uses };
}

function viewer() {
  const seen: string[] = [];
  const ended = Promise.withResolvers<TerminalEnd>();
  const made: TerminalViewer = {
    show(chunk) {
      seen.push(chunk.toString());
      return true;
    },
    end: ended.resolve,
    cut: () => {},
  };
  return { made, seen, ended: ended.promise };
}

test('it is started once, whoever asks how often, in the size of then', async () => {
  const { session, calls } = terminal();
  session.resize({ cols: 100, rows: 30 });
  await Promise.all([session.start(), session.start(), session.start()]);
  expect(calls).toEqual(['open', '100x30']);
  expect(session.info).toMatchObject({ active: true, cols: 100, rows: 30 });
});

test('a start that failed may be tried again', async () => {
  let attempts = 0;
  const { session } = terminal(async () => {
    attempts += 1;
    if (attempts === 1) throw new Error('not now');
  });
  await expect(session.start()).rejects.toThrow('not now');
  expect(session.info.active).toBe(false);
  await session.start();
  expect(session.info.active).toBe(true);
});

test('what nobody saw is shown to who comes next, and to nobody a second time', async () => {
  const { session, stream } = terminal();
  await session.start();
  stream.write('missed');
  await turn();
  const [first, second] = [viewer(), viewer()];
  session.attach(first.made);
  session.attach(second.made);
  stream.write(' live');
  await turn();
  expect([first.seen.join(''), second.seen.join('')]).toEqual(['missed live', ' live']);
});

test('the sandbox is in use while somebody looks', async () => {
  const { session, uses } = terminal();
  await session.start();
  const seats = [session.attach(viewer().made), session.attach(viewer().made)];
  expect(uses()).toBe(2);
  for (const seat of seats) seat.leave();
  expect(uses()).toBe(0);
});

test('the end comes after the last output, to those who look and to those who come later', async () => {
  const { session, stream, exited } = terminal();
  await session.start();
  const present = viewer();
  session.attach(present.made);
  exited.resolve({ exitCode: 7, signal: undefined });
  await turn();
  stream.write('last');
  stream.end();
  expect(await present.ended).toEqual({ exitCode: 7, reason: 'exit code 7' });
  expect(present.seen).toEqual(['last']);
  const late = viewer();
  session.attach(late.made);
  expect(await late.ended).toEqual({ exitCode: 7, reason: 'exit code 7' });
  expect(() => session.resize({ cols: 1, rows: 1 })).toThrow('not active');
});

test('one that is removed while it starts is ended as soon as it has', async () => {
  const started = Promise.withResolvers<void>();
  const { session, calls } = terminal(() => started.promise);
  const starting = session.start();
  await session.kill({ exitCode: 137, reason: 'deleted' });
  started.resolve();
  await starting;
  expect(calls).toContain('kill');
  expect(session.hasEnded).toBe(true);
});

test('one whose sandbox has gone is at its end at once, also if it never started', async () => {
  const { session, calls } = terminal();
  const present = viewer();
  session.attach(present.made);
  session.abandon({ exitCode: 137, reason: 'the sandbox stopped' });
  expect(await present.ended).toEqual({ exitCode: 137, reason: 'the sandbox stopped' });
  await session.start();
  expect(calls).toEqual([]);
});
