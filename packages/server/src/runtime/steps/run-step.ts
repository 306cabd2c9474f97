import { closeSync, mkdirSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { DarkroomError, errnoOf, invalidRequest, messageOf } from '../../platform/errors.ts';
import { failpointSync } from '../../platform/failpoints.ts';
import { openProcessPipes } from '../../platform/process-pipes.ts';
import type { SpawnedProcess } from '../../platform/spawned-process.ts';
import { DEFAULT_PATH } from '../container/container-config.ts';
import { checkExec, checkWorkingDirectory, commandFault, NOT_EXECUTABLE } from '../container/exec-check.ts';
import { isContainerId } from '../container/layout.ts';
import { writeNameFiles } from '../container/sandbox-dir.ts';
import { mountNameFiles } from '../container/start-container.ts';
import { pickUser, readAccounts } from '../container/users.ts';
import type { ReadyNamespaces } from '../network/network-pool.ts';
import type { StepProcess, StepSpec } from '../step-types.ts';
import type { ProcessUser } from '../types.ts';
import { cleanUpStep } from './clean-up-step.ts';
import { freeBytes } from './disk-watch.ts';
import { isWithin } from './find-place.ts';
import { followStep } from './follow-step.ts';
import { makeStepCgroup, type StepCgroup } from './step-cgroup.ts';
import { STEP_HOSTNAME, stepConfig } from './step-config.ts';
import type { StepHost } from './step-host.ts';
import { stepName, stepPaths } from './step-layout.ts';
import { mountStepRoot, type StepRoot } from './step-root.ts';

/** The kernel's bound on one argument (`MAX_ARG_STRLEN`). */
const MAX_STRING_BYTES = 128 * 1024;
/** What crun mounts, and what is not there before it has. */
const UNSEEN = ['/proc', '/sys', '/dev', '/.darkroom'];

/** A step that runs; or one that could not even begin, whose process has ended. */
export async function runStep(host: StepHost, spec: StepSpec): Promise<StepProcess> {
  checkStep(host, spec);
  const name = stepName(spec.id);
  const ready = host.network.take();
  const network = ready.then(async (namespaces) => {
    if (spec.network === 'none') await host.network.cutOff(namespaces);
    else await host.network.setPolicy(namespaces, { blockAll: false });
    return namespaces;
  });
  // Awaited below; should something else raise first, nobody hears of this one's failure.
  network.catch(() => undefined);
  let cgroup: StepCgroup | undefined;
  const cleanUp = async () => {
    cgroup?.close();
    await network.catch(() => undefined);
    await cleanUpStep(host, host.stepCrun, name, await ready.catch(() => undefined));
  };
  try {
    const prepared = await prepare(host, spec, name);
    if ('words' in prepared) {
      await cleanUp();
      return endedStep(prepared.exitCode, prepared.words);
    }
    cgroup = await makeStepCgroup(host.cgroups, name, spec.limits);
    return await begin(host, { spec, name, cgroup, namespaces: await network, cleanUp, ...prepared });
  } catch (error) {
    await cleanUp();
    throw startError(error, spec);
  }
}

interface Prepared {
  root: StepRoot;
  user: ProcessUser;
  env: Record<string, string>;
}

/** Mounts the root, and looks up in it what the step is to run. */
async function prepare(
  host: StepHost,
  spec: StepSpec,
  name: string,
): Promise<Prepared | { exitCode: number; words: string }> {
  const paths = stepPaths(host.layout, name);
  mkdirSync(paths.dir, { mode: 0o711 });
  const root = await mountStepRoot(host, spec, paths);
  try {
    const { users, groups } = await readAccounts(root.fd);
    const user = pickUser(spec.user, users, groups, host.idCount);
    if (user === undefined) throw invalidRequest(`the user ${spec.user} is not in /etc/passwd and /etc/group`);
    const env = { ...host.surroundings.env, ...spec.env };
    if (!isUnseen(spec.cwd)) checkWorkingDirectory(root.fd, spec.cwd);
    const [command = ''] = spec.argv;
    const fault = isUnseen(command) ? undefined : commandFault(root.fd, command, spec.cwd, env.PATH ?? DEFAULT_PATH);
    return fault ?? tooLong(spec.argv, env) ?? { root, user, env };
  } finally {
    closeSync(root.fd);
  }
}

const isUnseen = (path: string) => UNSEEN.some((directory) => isWithin(path, directory));

function tooLong(argv: readonly string[], env: Readonly<Record<string, string>>) {
  const strings = [...argv, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
  const isTooLong = strings.some((text) => Buffer.byteLength(text) >= MAX_STRING_BYTES);
  return isTooLong ? { exitCode: NOT_EXECUTABLE, words: `${argv[0] ?? ''}: argument list too long` } : undefined;
}

interface Begin extends Prepared {
  spec: StepSpec;
  name: string;
  cgroup: StepCgroup;
  namespaces: ReadyNamespaces;
  cleanUp: () => Promise<void>;
}

async function begin(host: StepHost, input: Begin): Promise<StepProcess> {
  const { spec, name, cgroup, namespaces, user, env, root } = input;
  const paths = stepPaths(host.layout, name);
  mountNameFiles(paths.etc);
  writeNameFiles(paths.etc, {
    hostname: STEP_HOSTNAME,
    address: spec.network === 'none' ? '127.0.1.1' : namespaces.address,
    resolvConf: host.network.resolvConf(),
    idBase: host.idBase,
  });
  const { crunMounts } = root;
  const config = stepConfig(host, { spec, paths, env, user, cgroupPath: cgroup.path, namespaces, crunMounts });
  // On a tmpfs, and gone with the step: the environment may hold secrets.
  writeFileSync(paths.config, JSON.stringify(config), { mode: 0o600 });
  const pipes = openProcessPipes({ uid: host.idBase + user.uid, gid: host.idBase + user.gid });
  let child: SpawnedProcess;
  try {
    child = host.stepCrun.runAttached(name, paths.dir, paths.log, pipes.theirs);
  } catch (error) {
    pipes.destroy();
    throw error;
  } finally {
    pipes.closeTheirs();
  }
  failpointSync('build.step-begun');
  // Its input is empty.
  pipes.stdin.destroy();
  const { exited, kill } = followStep(host, { spec, name, child, cgroup, cleanUp: input.cleanUp });
  return { stdout: pipes.stdout, stderr: pipes.stderr, exited, kill };
}

function checkStep(host: StepHost, spec: StepSpec): void {
  if (!isContainerId(spec.id)) throw invalidRequest(`${spec.id} cannot be the id of a step`);
  checkExec(spec);
  const { free, reserve } = freeBytes(host.layout.poolRoot);
  if (free >= reserve) return;
  throw new DarkroomError('insufficient_storage', 'the pool is full', {
    hint: 'Delete snapshots and sandboxes that nobody needs, or make the pool larger.',
  });
}

function endedStep(exitCode: number, words: string): StepProcess {
  const exit = { exitCode, exceeded: undefined, pidsExceeded: false, peakMemoryBytes: undefined };
  return {
    stdout: Readable.from([]),
    stderr: Readable.from([Buffer.from(`${words}\n`)]),
    exited: Promise.resolve(exit),
    kill: async () => {},
  };
}

function startError(error: unknown, { id }: StepSpec): unknown {
  if (error instanceof DarkroomError) return error;
  const code = errnoOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DarkroomError('insufficient_storage', 'no space is left to run a step', { cause: error });
  }
  if (code === 'EMFILE' || code === 'ENFILE') {
    return new DarkroomError('unavailable', 'the server has too many open files', { cause: error, retryable: true });
  }
  return new DarkroomError('internal', `run step ${id}: ${messageOf(error)}`, { cause: error });
}
