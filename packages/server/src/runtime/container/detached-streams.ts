import { closeSync, fchownSync } from 'node:fs';
import { PassThrough, Readable } from 'node:stream';
import { pipe } from '../../platform/libc-files.ts';
import type { ProcessPipes } from '../../platform/process-pipes.ts';

/** For a command that must outlive the server: no pipe of ours is among what it holds. The caller keeps `outputFd`. */
export function openDetachedStreams(owner: { uid: number; gid: number }, outputFd: number): ProcessPipes {
  fchownSync(outputFd, owner.uid, owner.gid);
  // Never the host's /dev/null: crun gives what it gets to the sandbox's root, who could then close it to everybody.
  const nothing = pipe();
  closeSync(nothing.write);
  const stdin = new PassThrough();
  stdin.resume();
  return {
    stdin,
    stdout: Readable.from([]),
    stderr: Readable.from([]),
    theirs: [nothing.read, outputFd, outputFd],
    closeTheirs: () => closeSync(nothing.read),
    destroy: () => {},
  };
}
