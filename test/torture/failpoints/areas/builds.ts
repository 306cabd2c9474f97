import { randomBytes } from 'node:crypto';
import { ask } from '../../../../packages/server/src/http/s3/testing/raw-client.ts';
import { makeTar } from '../../../../packages/server/src/images/testing/test-image.ts';
import { buildsOf } from '../../../support/builds.ts';
import { Unanswered, Violation } from '../../requests.ts';
import { expectInSandboxOf, post, resting, restsIn } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import { sha256, type World } from '../world.ts';

interface Context {
  hash: string;
  content: Buffer;
}

export const newContext = (): Context => {
  const content = randomBytes(150_000);
  return { hash: sha256(content).slice(0, 32), content };
};

/** In one piece, as the Python SDK sends what is small. */
export async function upload(world: World, { hash, content }: Context): Promise<void> {
  const access = (await world.requests.api('/object-storage/push-access')).json();
  const path = `/${access.bucket}/${access.organizationId}/${hash}/context.tar`;
  const answer = await ask(access.storageUrl, access, { method: 'PUT', path, body: makeTar({ file: content }) }).catch(
    (error: unknown) => {
      throw new Unanswered(String(error));
    },
  );
  if (answer.status !== 200) throw new Violation(`an upload was answered ${answer.status}: ${answer.text}`);
}

function buildInfo(world: World, { hash }: Context, command: string) {
  const dockerfile = [`FROM ${world.baseImage}`, `RUN ${command}`, 'COPY file /copied', 'RUN sha256sum /copied > /sum'];
  return { dockerfileContent: `${dockerfile.join('\n')}\n`, contextHashes: [hash] };
}

/** The build goes on where the killed server left it, and its log tells of all of it. */
const build: Operation = async (world, strike) => {
  const context = newContext();
  await upload(world, context);
  const name = world.newName('built');
  const unique = world.newName('step');
  const body = {
    name,
    buildInfo: buildInfo(world, context, `echo ${unique} > /made && sleep 0.1 && echo said-${unique}`),
  };
  let isAccepted = false;
  await strike(async () => {
    await post(world, '/snapshots', body);
    isAccepted = true;
    await restsIn(world, 'snapshots', name, 'active');
  });
  const found = await resting(world, 'snapshots', name);
  if (found === undefined && !isAccepted) await post(world, '/snapshots', body);
  const built = await restsIn(world, 'snapshots', name, 'active');
  await expectInSandboxOf(world, name, {
    '/made': sha256(`${unique}\n`),
    '/copied': sha256(context.content),
    '/sum': sha256(`${sha256(context.content)}  /copied\n`),
  });
  const log = await buildsOf(world.darkroom).log({ ...built, errorReason: null });
  if (!log.some(({ text }) => text === `said-${unique}`)) throw new Violation('the log of the build lost a line');
};

/** A failure that was found is the end, also when the server is killed right then; or it is found again. */
const failingBuild: Operation = async (world, strike) => {
  const context = newContext();
  await upload(world, context);
  const name = world.newName('unbuilt');
  await strike(async () => {
    await post(world, '/snapshots', { name, buildInfo: buildInfo(world, context, 'echo it breaks && exit 7') });
    await restsIn(world, 'snapshots', name, 'error', 'build_failed');
  });
  const { errorReason } = await restsIn(world, 'snapshots', name, 'error', 'build_failed');
  if (!/exit code 7/.test(errorReason ?? '')) throw new Violation(`the reason is ${errorReason}`);
};

export const builds = {
  'build.rows-written': build,
  'build.taken': build,
  'build.context-merged': build,
  'build.step-begun': build,
  'build.step-run': build,
  'build.step-recorded': build,
  'build.synced': build,
  'build.durable': build,
  'build.active': build,
  'build.failed': failingBuild,
  'seal.made': build,
  'seal.made-named': build,
} satisfies Operations;
