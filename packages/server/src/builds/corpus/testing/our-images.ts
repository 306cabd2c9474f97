import { parseImageConfig } from '../../../images/registry/image-config.ts';
import type { ImageConfig } from '../../../images/types.ts';
import { ID_BASE } from '../../../images/unpack/testing/layer-blob.ts';
import { unpackArchive } from '../../../images/unpack/testing/unpack-archive.ts';
import { type BuildLab, createBuildLab, type LabBuild } from '../../engine/testing/build-lab.ts';
import type { BuiltImage } from '../../types.ts';
import { BASE_NAMES, baseConfigBlob, baseLayerTar } from './base-image.ts';
import { contextTar } from './context-files.ts';
import { changesFrom, configOf, fileLines, type ImageDescription } from './describe-image.ts';
import { startFileServer } from './file-server.ts';
import { type CorpusCase, withServers } from './read-cases.ts';

/** Our engine over the base images of the corpus. */
export interface OurImages {
  build(each: CorpusCase): Promise<ImageDescription>;
  /** What the build fails with. */
  refusal(each: CorpusCase): Promise<string>;
  close(): Promise<void>;
}

export async function openOurImages(): Promise<OurImages> {
  const lab = await createBuildLab();
  const layer = await baseLayerTar();
  for (const name of BASE_NAMES) {
    const { config } = parseImageConfig(baseConfigBlob(name, layer));
    await lab.addImage(
      name,
      async (directory) => {
        await unpackArchive(layer, directory);
        return 'shifted';
      },
      config,
    );
  }
  const base = await lab.build(`FROM ${BASE_NAMES[0]}\n`);
  const baseLines = await linesOf(lab, base.image);
  const server = await startFileServer();
  return {
    async build(each) {
      const { image } = await lab.build(each.dockerfile, optionsOf(withServers(each, server)));
      return { files: changesFrom(baseLines, await linesOf(lab, image)), config: configOf(ociConfig(image.config)) };
    },
    async refusal(each) {
      const { failure } = await lab.fail(each.dockerfile, optionsOf(withServers(each, server)));
      return failure.step === undefined ? failure.message : `Dockerfile line ${failure.step.line}: ${failure.message}`;
    },
    async close() {
      await server.close();
      await lab.close();
    },
  };
}

function optionsOf(each: CorpusCase): LabBuild {
  return {
    context: contextTar(each),
    buildArgs: Object.fromEntries(each.buildArgs),
    secrets: Object.fromEntries(each.secrets),
    target: each.target,
  };
}

async function linesOf(lab: BuildLab, image: BuiltImage): Promise<string[]> {
  const paths = await Promise.all(image.layers.map(async (id) => (await lab.layers.get(id))?.path ?? `missing ${id}`));
  const tree = await lab.sandboxes.runtime.steps.openTree(paths);
  try {
    return fileLines(`/proc/self/fd/${tree.directory}/.`, ID_BASE);
  } finally {
    tree.close();
  }
}

function ociConfig(config: ImageConfig): Record<string, unknown> {
  const { healthcheck } = config;
  return {
    Env: config.env,
    Entrypoint: config.entrypoint,
    Cmd: config.cmd,
    WorkingDir: config.workingDir,
    User: config.user,
    Labels: config.labels,
    ExposedPorts: keyed(config.exposedPorts),
    Volumes: keyed(config.volumes),
    StopSignal: config.stopSignal,
    Shell: config.shell,
    OnBuild: config.onBuild,
    Healthcheck:
      healthcheck &&
      configOf({
        Test: healthcheck.test,
        Interval: healthcheck.interval,
        Timeout: healthcheck.timeout,
        StartPeriod: healthcheck.startPeriod,
        StartInterval: healthcheck.startInterval,
        Retries: healthcheck.retries,
      }),
  };
}

function keyed(names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}
