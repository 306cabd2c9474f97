import { constants } from 'node:os';
import type { SpawnedProcess } from '../../platform/spawned-process.ts';
import { crunFailure } from '../container/crun-failure.ts';
import type { StepExit, StepProcess, StepSpec } from '../step-types.ts';
import { watchDisk } from './disk-watch.ts';
import type { StepCgroup } from './step-cgroup.ts';
import { killStep, lastWords } from './step-end.ts';
import type { StepHost } from './step-host.ts';
import { stepPaths } from './step-layout.ts';

const KILLED = 128 + constants.signals.SIGKILL;

export interface RunningStep {
  spec: StepSpec;
  name: string;
  /** crun, which ends with the step. */
  child: SpawnedProcess;
  cgroup: StepCgroup;
  /** Takes away all that it had. */
  cleanUp: () => Promise<void>;
}

/** Keeps a step within its bounds, and tells of its end. */
export function followStep(host: StepHost, step: RunningStep): Pick<StepProcess, 'exited' | 'kill'> {
  const { spec, name, child } = step;
  const paths = stepPaths(host.layout, name);
  const { promise: stuck, reject: giveUp } = Promise.withResolvers<never>();
  let killed: Promise<void> | undefined;

  function end(): Promise<void> {
    killed ??= killStep(host, name, child);
    killed.catch(giveUp);
    return killed;
  }

  let exceeded: StepExit['exceeded'];
  function exceed(what: StepExit['exceeded']): void {
    exceeded ??= what;
    host.log.warn({ step: name, exceeded: what }, 'a step is ended: it is over its limit');
    end().catch(() => undefined);
  }
  const { watcher } = host;
  const { poolRoot } = host.layout;
  const disk = watchDisk({
    watcher,
    poolRoot,
    directories: [spec.upper, paths.scratch],
    limitBytes: spec.limits.diskBytes,
    onExcess: exceed,
  });
  const mounted = spec.mounts.flatMap((each) => (each.kind === 'bind' && each.writable ? [each.root] : []));
  // What has become too large with the step's end, whoever keeps it takes away.
  const mounts =
    mounted.length === 0 || spec.mountedBytes === undefined
      ? undefined
      : watchDisk({
          watcher,
          poolRoot,
          directories: mounted,
          limitBytes: spec.mountedBytes,
          onExcess: (what) => exceed(what === 'disk' ? 'mounted' : what),
        });

  async function finish(): Promise<StepExit> {
    try {
      const { exitCode } = await Promise.race([child.exited, stuck]);
      mounts?.stop();
      const excess = (await disk.finish()) ?? exceeded;
      const { ranOutOfMemory, pidsExceeded, peakMemoryBytes } = await step.cgroup.spent();
      const words = exitCode === 0 || killed ? '' : await lastWords(paths.log);
      const over = excess ?? (ranOutOfMemory && exitCode !== 0 ? 'memory' : undefined);
      // What crun says is its own failure and not the command's.
      if (words !== '' && over === undefined) throw crunFailure('run', words);
      // One that is killed in the middle of its start ends as crun does.
      return { exitCode: killed && exitCode !== 0 ? KILLED : exitCode, exceeded: over, pidsExceeded, peakMemoryBytes };
    } finally {
      disk.stop();
      mounts?.stop();
      await step.cleanUp();
    }
  }

  const exited = finish();
  // Whoever asks sees the failure; who does not must not bring the server down.
  exited.catch(() => {});
  return {
    exited,
    async kill() {
      await end();
      await exited.catch(() => undefined);
    },
  };
}
