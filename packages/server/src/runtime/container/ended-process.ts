import { PassThrough, Readable } from 'node:stream';
import type { ExecProcess } from '../types.ts';

/** A command that could not even begin, as a shell would show it. */
export function endedProcess(exitCode: number, words: string): ExecProcess {
  const stdin = new PassThrough();
  stdin.resume();
  return {
    stdin,
    stdout: Readable.from([]),
    stderr: Readable.from([Buffer.from(`${words}\n`)]),
    exited: Promise.resolve({ exitCode, signal: undefined }),
    killTree: async () => {},
  };
}
