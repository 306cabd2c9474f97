import { lstatSync } from 'node:fs';
import type { Layer } from '../../images/types.ts';
import type { Add, Copy } from '../dockerfile/instructions.ts';
import { word } from '../dockerfile/scope.ts';
import { transferInstruction } from '../files/transfer-instruction.ts';
import type { SourceTree, TransferInstruction } from '../files/transfer-types.ts';
import { withoutSecrets } from '../files/without-secrets.ts';
import { prepareFetched } from './fetch-sources.ts';
import { chainOf, digestOf } from './key-parts.ts';
import { withMerged } from './make-directories.ts';
import { isEmptyDirectory } from './measure-tree.ts';
import type { PreparedStep, StepPlace } from './step-types.ts';

/** COPY or ADD. What it reads is looked at before its key is known; what comes by the network is fetched for that. */
export async function prepareTransfer(instruction: Copy | Add, place: StepPlace): Promise<PreparedStep> {
  const { definition, tools, state, below, bytesLeft, signal } = place;
  const { files, layers, slots, steps } = tools;
  const filled = transferInstruction(instruction, state.scope);
  const maxBytes = Math.min(definition.limits.diskBytes, bytesLeft);
  const checksum = instruction.kind === 'add' ? instruction.checksum : undefined;
  const fetched = await prepareFetched(filled, place, {
    checksum: checksum === undefined ? undefined : word(state.scope, instruction.line, checksum),
    keepGitDir: instruction.kind === 'add' && instruction.keepGitDir,
    maxBytes,
  });
  const source = await sourceOf(instruction, place, fetched.known.size === filled.sources.length);
  const digest = await files.digest({ instruction: filled, source, fetched: fetched.known, maxBytes }, signal);
  const { sources: _sources, heredocs: _heredocs, ...said } = filled;
  const workingDirectory = state.config.workingDir === '' ? '/' : state.config.workingDir;
  return {
    parts: {
      kind: instruction.kind.toUpperCase(),
      'the base image or an earlier step': isIndependent(filled) ? rootOf(below) : chainOf(below),
      'the files': digest,
      'the instruction': digestOf(said),
      'the working directory': digestOf(filled.target.startsWith('/') ? '/' : workingDirectory),
    },
    command: commandText(filled),
    async execute(stepSignal, report) {
      const files_ = await fetched.all(stepSignal);
      const carryOut = async (upper: string) =>
        withMerged(steps, below, async (parent) => {
          const request = { instruction: filled, source, fetched: files_, workingDirectory, parent, upper, maxBytes };
          const { sizeBytes, warnings } = await files.transfer(request, stepSignal);
          for (const text of warnings) report({ kind: 'note', text });
          return isEmptyDirectory(upper) ? undefined : { sizeBytes };
        });
      const owner = { organizationId: definition.organizationId, buildId: definition.id };
      return { layer: await slots.run(owner, stepSignal, () => layers.make(carryOut)) };
    },
  };
}

/** A `--link` layer is the same whatever is below, unless names of users are looked up there. */
function isIndependent({ link, chmod, chown = '0' }: TransferInstruction): boolean {
  return link && chmod === undefined && /^\d+(:\d+)?$/.test(chown);
}

/** The root directory is in every layer as it looks below. */
function rootOf(below: readonly Layer[]): string {
  const top = below.at(-1);
  if (top === undefined) return digestOf('nothing');
  const { mode, uid, gid } = lstatSync(top.path);
  return digestOf([mode, uid, gid]);
}

async function sourceOf(instruction: Copy | Add, { sources }: StepPlace, readsNothing: boolean): Promise<SourceTree> {
  const { from } = instruction.kind === 'copy' ? instruction : { from: undefined };
  if (readsNothing) return await sources.nothing();
  return from === undefined ? (await sources.context()).source : (await sources.named(from)).source;
}

function commandText({ kind, sources, heredocs, target }: TransferInstruction): string {
  const words = [
    ...sources.map((text) => (kind === 'add' ? withoutSecrets(text) : text)),
    ...heredocs.map(({ name }) => `<<${name}`),
  ];
  return `${kind.toUpperCase()} ${[...words, target].join(' ')}`;
}
