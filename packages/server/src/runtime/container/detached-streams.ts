import { closeSync, constants, fchownSync, openSync } from 'node:fs';
import { PassThrough, Readable } from 'node:stream';
import type { ProcessPipes } from '../../platform/process-pipes.ts';

/** For a command that must outlive the server: no pipe of ours is among what it holds. The caller keeps `outputFd`. */
export function openDetachedStreams(owner: { uid: number; gid: number }, outputFd: number): ProcessPipes {
  fchownSync(outputFd, owner.uid, owner.gid);
  const nothing = openSync('/dev/null', constants.O_RDONLY);
  const stdin = new PassThrough();
  stdin.resume();
  return {
    stdin,
    stdout: Readable.from([]),
    stderr: Readable.from([]),
    theirs: [nothing, outputFd, outputFd],
    closeTheirs: () => closeSync(nothing),
    destroy: () => {},
  };
}
