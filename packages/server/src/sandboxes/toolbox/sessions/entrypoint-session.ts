import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { errnoOf, notFound } from '../../../platform/errors.ts';
import type { EntrypointStatus } from '../../entrypoint.ts';
import type { CommandInfo, SessionInfo } from './command.ts';
import type { CommandLogs } from './command-logs.ts';
import type { OutputPiece } from './session-log.ts';

/** The sandbox's entry point shows as a session of this name, with one command of the same. */
export const ENTRYPOINT_ID = 'entrypoint';
const READ_BYTES = 64 * 1024;
/** Its end is heard of before the last of its output is read. */
const LAST_OUTPUT_MS = 200;

export function entrypointInfo(status: EntrypointStatus | undefined): SessionInfo {
  if (status === undefined) return { sessionId: ENTRYPOINT_ID, commands: [] };
  const command = status.command.join(' ');
  return { sessionId: ENTRYPOINT_ID, commands: [{ id: ENTRYPOINT_ID, command, exitCode: status.exitCode }] };
}

export function entrypointCommand({ commands }: SessionInfo, id: string): CommandInfo {
  const command = commands.find((found) => found.id === id);
  if (command === undefined) throw notFound(`Command ${id} not found in session ${ENTRYPOINT_ID}`);
  return command;
}

/** Both of its outputs are one pipe, so that all of it is `stdout`. */
export function entrypointLogs(status: EntrypointStatus | undefined): CommandLogs {
  return {
    async *read(stream) {
      if (status === undefined || stream === 'stderr') return;
      for (const path of [`${status.logPath}.1`, status.logPath]) yield* fileIfThere(path);
    },
    async *follow(signal) {
      if (status !== undefined) yield* followLog(status, signal);
    },
  };
}

async function* fileIfThere(path: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(path)) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

async function* followLog(status: EntrypointStatus, signal: AbortSignal): AsyncGenerator<OutputPiece> {
  const { logPath, output } = status;
  let file = (await openIfThere(`${logPath}.1`)) ?? (await openIfThere(logPath));
  let at = 0;
  try {
    while (!signal.aborted) {
      const { version, isOpen } = output;
      if (file !== undefined) {
        for await (const data of readOn(file, at)) {
          at += data.length;
          yield { stream: 'stdout', data };
          if (signal.aborted) return;
        }
      }
      if ((await inodeOf(logPath)) !== (file && (await file.stat()).ino)) {
        await file?.close();
        file = await openIfThere(logPath);
        at = 0;
        continue;
      }
      if (!isOpen) return;
      const ended = status.exitCode !== undefined;
      const waited = ended ? AbortSignal.any([signal, AbortSignal.timeout(LAST_OUTPUT_MS)]) : signal;
      await output.changedSince(version, waited);
      if (ended && output.version === version) return;
    }
  } finally {
    await file?.close();
  }
}

async function* readOn(file: FileHandle, from: number): AsyncGenerator<Buffer> {
  for (let at = from; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
