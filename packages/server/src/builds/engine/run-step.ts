import { randomBytes } from 'node:crypto';
import { lstatSync } from 'node:fs';
import type { StepMount, StepSpec } from '../../runtime/step-types.ts';
import type { StepEvent } from '../cache/step-cache.ts';
import type { Run } from '../dockerfile/instructions.ts';
import { formatPlatform } from '../dockerfile/platform.ts';
import { PROXY_VARIABLES, stepEnvironment } from '../dockerfile/scope.ts';
import { createRedactor } from '../logs/redactor.ts';
import { followStep } from './follow-step.ts';
import { chainOf, digestOf, variableParts } from './key-parts.ts';
import { dressRoot, makeDirectories, withMerged } from './make-directories.ts';
import { isEmptyDirectory, measureTree } from './measure-tree.ts';
import { runCommand } from './run-command.ts';
import { prepareMounts } from './run-mounts.ts';
import { layerPaths } from './step-sources.ts';
import type { PreparedStep, StepPlace } from './step-types.ts';

/** RUN. */
export async function prepareRun(instruction: Run, place: StepPlace): Promise<PreparedStep> {
  const { definition, tools, state, below, bytesLeft } = place;
  const { steps, layers, slots, settings, cacheMounts } = tools;
  const { argv, script } = runCommand(instruction, state);
  const mounts = await prepareMounts(instruction, place);
  const { user } = state.config;
  const cwd = state.config.workingDir === '' ? '/' : state.config.workingDir;
  const { cpu, memoryBytes, pids, diskBytes, stepSeconds } = definition.limits;
  const limits = { cpu, memoryBytes, pids, diskBytes: Math.min(diskBytes, bytesLeft) };
  const command = argv.join(' ');

  async function carryOut(upper: string, opened: StepMount[], signal: AbortSignal, report: (event: StepEvent) => void) {
    if (cwd === '/') dressRoot(upper, below, settings.idBase);
    else {
      await withMerged(steps, below, (merged) =>
        makeDirectories(upper, { merged, path: cwd, owner: undefined, idBase: settings.idBase }),
      );
    }
    const before = lstatSync(upper);
    const spec: StepSpec = {
      id: `build-${randomBytes(10).toString('hex')}`,
      layers: layerPaths(below),
      upper,
      argv,
      env: { ...givenProxies(definition.buildArgs), ...stepEnvironment(state.scope), ...mounts.env },
      cwd,
      user,
      limits,
      network: instruction.network,
      mountedBytes: opened.some(({ kind }) => kind === 'bind') ? await cacheMounts.bound() : undefined,
      mounts:
        script === undefined
          ? opened
          : [
              ...opened,
              {
                kind: 'file',
                uid: 0,
                gid: 0,
                mode: 0o755,
                target: script.target,
                content: Buffer.from(script.content),
              },
            ],
    };
    signal.throwIfAborted();
    const redactor = createRedactor(definition.secrets.values());
    const options = { signal, report, redactor, command, limits: { ...limits, stepSeconds } };
    await followStep(await steps.run(spec), options);
    const after = lstatSync(upper);
    const isSameRoot = after.mode === before.mode && after.uid === before.uid && after.gid === before.gid;
    return isSameRoot && isEmptyDirectory(upper) ? undefined : { sizeBytes: await measureTree(upper) };
  }

  return {
    parts: {
      kind: 'RUN',
      'the base image or an earlier step': chainOf(below),
      'the command': digestOf([argv, script?.content]),
      ...variableParts(state.scope),
      'the working directory': digestOf(cwd),
      'the user': digestOf(user),
      'the mounts': digestOf(mounts.described),
      'the files': digestOf(mounts.files),
      'the network': instruction.network,
      'the platform': formatPlatform(settings.platform),
    },
    command,
    hasSecrets: instruction.mounts.some(({ type }) => type === 'secret'),
    async execute(signal, report) {
      const opened = await mounts.open(signal);
      try {
        const owner = { organizationId: definition.organizationId, buildId: definition.id };
        const make = () => layers.make((upper) => carryOut(upper, opened.mounts, signal, report));
        return { layer: await slots.run(owner, signal, make) };
      } finally {
        await opened.close();
      }
    },
  };
}

/** Usable without an ARG. */
function givenProxies(buildArgs: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries([...buildArgs].filter(([name]) => PROXY_VARIABLES.includes(name)));
}
