import { createHash, randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { baseLayerTar } from '../../../packages/server/src/builds/corpus/testing/base-image.ts';
import {
  type ScriptedRegistry,
  startScriptedRegistry,
} from '../../../packages/server/src/images/testing/scripted-registry.ts';
import { makeImage } from '../../../packages/server/src/images/testing/test-image.ts';
import { type Darkroom, startDarkroom } from '../../support/darkroom.ts';
import { OperationLog } from '../operation-log.ts';
import { createRequests, type Requests } from '../requests.ts';
import { READY } from '../world.ts';
import { type Receiver, startReceiver } from './receiver.ts';

/** One server, killed again and again, with all that it works with. */
export interface World {
  darkroom: Darkroom;
  requests: Requests;
  registry: ScriptedRegistry;
  receiver: Receiver;
  log: OperationLog;
  /** The snapshot that most sandboxes here are of. */
  base: string;
  /** What it is of. */
  baseImage: string;
  /** An image that nobody has pulled, with the SHA-256 of its `/unique` and the digest of the layer that has it. */
  newImage(): { reference: string; sha256: string; layer: string };
  newName(what: string): string;
  /** Arms a failpoint of the server that runs; the empty text disarms. */
  arm(text: string): Promise<void>;
  close(): Promise<void>;
}

const ENVIRONMENT = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];

export async function openWorld(): Promise<World> {
  const registry = await startScriptedRegistry();
  const receiver = await startReceiver();
  const armed = join(tmpdir(), `darkroom-armed-${randomBytes(6).toString('hex')}`);
  const close = async () => {
    await registry.close();
    await receiver.close();
    await rm(armed, { force: true });
  };
  let darkroom: Darkroom;
  try {
    darkroom = await startDarkroom({
      config: {
        registries: { mirrors: { 'docker.io': [`http://${registry.host}`] } },
        webhooks: { allowInternal: true },
        runtime: READY,
      },
      env: { DARKROOM_FAILPOINTS: `@${armed}` },
    });
  } catch (error) {
    await close();
    throw error;
  }
  const tar = await baseLayerTar();
  const config = { Env: ENVIRONMENT, Cmd: ['sh'], WorkingDir: '/' };
  registry.serve('library/base', makeImage([{ files: {}, tar }], { config }), '1');
  const log = new OperationLog();
  let count = 0;
  const world: World = {
    darkroom,
    requests: createRequests(darkroom, log, 'client'),
    registry,
    receiver,
    log,
    base: 'base',
    baseImage: 'base:1',
    newImage() {
      count += 1;
      const unique = randomBytes(200_000);
      const image = makeImage([{ files: {}, tar }, { files: { unique, [`numbers/${count}`]: `${count}\n` } }], {
        config,
      });
      registry.serve(`library/image-${count}`, image, '1');
      return { reference: `image-${count}:1`, sha256: sha256(unique), layer: image.layers.at(-1)?.digest ?? '' };
    },
    newName: (what) => `${what}-${++count}`,
    arm: (text) => writeFile(armed, text),
    async close() {
      await world.requests.close();
      await darkroom.destroy();
      await close();
    },
  };
  await world.arm('');
  return world;
}

export const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');
