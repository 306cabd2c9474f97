import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { ChangeSignal } from '../../platform/change-signal.ts';
import { errnoOf, invalidRequest, undefinedIfMissing } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';
import type { BuildLogs } from './build-log.ts';
import { openToAppend, writeAt } from './log-file.ts';
import { END_RECORD } from './log-record.ts';
import { LogWriter } from './log-writer.ts';
import { readLog } from './read-log.ts';

const SUFFIX = '.log';
/** Of builds whose logs could not be marked as ended, or that have none; far more than are read at the same time. */
const MAX_REMEMBERED_ENDS = 10_000;

/** What readers and the writer of one build share; there while one of them is. */
interface Channel {
  changes: ChangeSignal;
  users: number;
  writer: LogWriter | undefined;
  /** Opening, finishing and removing, one after the other. */
  turn: Promise<unknown>;
}

/** Logs as files, one for each build, in a directory of their own. */
export async function createBuildLogs({ directory, log }: { directory: string; log: Log }): Promise<BuildLogs> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const channels = new Map<string, Channel>();
  const ended = new LRUCache<string, true>({ max: MAX_REMEMBERED_ENDS });
  let isClosed = false;

  const pathOf = (buildId: string) => {
    if (!/^[\w-]{1,100}$/.test(buildId)) throw invalidRequest('This is not the id of a build');
    return join(directory, `${buildId}${SUFFIX}`);
  };

  const channelOf = (buildId: string): Channel => {
    const channel = channels.get(buildId) ?? {
      changes: new ChangeSignal(),
      users: 0,
      writer: undefined,
      turn: Promise.resolve(),
    };
    channels.set(buildId, channel);
    return channel;
  };

  const leave = (buildId: string, channel: Channel) => {
    channel.users -= 1;
    if (channel.users === 0 && channel.writer === undefined) channels.delete(buildId);
  };

  function inTurn<T>(buildId: string, work: (channel: Channel) => Promise<T>): Promise<T> {
    const channel = channelOf(buildId);
    channel.users += 1;
    const result = channel.turn.then(() => work(channel)).finally(() => leave(buildId, channel));
    channel.turn = result.catch(() => {});
    return result;
  }

  const endWriter = async (channel: Channel) => {
    await channel.writer?.close();
    channel.writer = undefined;
  };

  async function list(): Promise<string[]> {
    const names = await readdir(directory);
    return names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length));
  }

  return {
    open(buildId, { maxBytes }) {
      const path = pathOf(buildId);
      return inTurn(buildId, async (channel) => {
        await endWriter(channel);
        const open = () => openToAppend(path, { create: true });
        const opened = await open().catch((error: unknown) => {
          if (errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT') return undefined;
          throw error;
        });
        ended.delete(buildId);
        channel.writer = new LogWriter(opened, { maxBytes, log, open, changed: () => channel.changes.notify() });
        return channel.writer;
      });
    },

    async *read(buildId, options) {
      const path = pathOf(buildId);
      const channel = channelOf(buildId);
      channel.users += 1;
      try {
        const isOver = () => isClosed || ended.has(buildId);
        yield* readLog({ path, changes: channel.changes, isOver }, options);
      } finally {
        leave(buildId, channel);
      }
    },

    finish(buildId) {
      const path = pathOf(buildId);
      if (ended.has(buildId)) return;
      void inTurn(buildId, async (channel) => {
        try {
          await endWriter(channel);
          await markEnd(path);
        } catch (error) {
          log.warn({ err: error, buildId }, 'the end of a build log cannot be written');
        } finally {
          ended.set(buildId, true);
          channel.changes.notify();
        }
      });
    },

    remove(buildId) {
      const path = pathOf(buildId);
      return inTurn(buildId, async (channel) => {
        await endWriter(channel);
        await rm(path, { force: true });
        ended.set(buildId, true);
        channel.changes.notify();
      });
    },

    list,

    async sizes() {
      const sizes = new Map<string, number>();
      for (const buildId of await list()) {
        const found = await stat(pathOf(buildId)).catch(undefinedIfMissing);
        if (found !== undefined) sizes.set(buildId, found.size);
      }
      return sizes;
    },

    async close() {
      isClosed = true;
      for (const { changes } of channels.values()) changes.notify();
      await Promise.all([...channels.keys()].map((buildId) => inTurn(buildId, endWriter)));
    },
  };
}

/** So that after a restart, too, followers know that nothing more comes. */
async function markEnd(path: string): Promise<void> {
  const opened = await openToAppend(path, { create: false });
  if (opened === undefined) return;
  try {
    const { error } = await writeAt(opened.handle, opened.size, Buffer.from(END_RECORD));
    if (error !== undefined) throw error;
    await opened.handle.datasync();
  } finally {
    await opened.handle.close();
  }
}
