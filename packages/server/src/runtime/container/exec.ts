import { fchownSync } from 'node:fs';
import { openProcessPipes } from '../../platform/process-pipes.ts';
import type { ExecProcess, ExecSpec } from '../types.ts';
import type { ContainerHost } from './container-host.ts';
import { openDetachedStreams } from './detached-streams.ts';
import { endedProcess } from './ended-process.ts';
import type { StartedCommand } from './engine.ts';
import { prepareExec } from './exec-attempt.ts';
import type { LiveContainer } from './live-container.ts';

/** Starts a command in a running container, under the same protections as everything in it. */
export async function execInContainer(
  host: ContainerHost,
  container: LiveContainer,
  spec: ExecSpec,
): Promise<ExecProcess> {
  const attempt = await prepareExec(host, container, spec);
  if ('words' in attempt) return endedProcess(attempt.exitCode, attempt.words);
  const owner = { uid: host.idBase + spec.user.uid, gid: host.idBase + spec.user.gid };
  const streams = spec.outputFd === undefined ? openProcessPipes(owner) : openDetachedStreams(owner, spec.outputFd);
  let command: StartedCommand;
  try {
    if (spec.inputFd !== undefined) fchownSync(spec.inputFd, owner.uid, owner.gid);
    const stdio = spec.inputFd === undefined ? streams.theirs : ([...streams.theirs, spec.inputFd] as const);
    command = container.engine.exec(host, container, attempt, stdio);
  } catch (error) {
    streams.destroy();
    await attempt.forget();
    throw error;
  } finally {
    streams.closeTheirs();
  }
  const { stdin, stdout, stderr } = streams;
  return { stdin, stdout, stderr, ...command };
}
