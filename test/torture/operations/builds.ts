import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from '../../../packages/server/src/http/s3/testing/raw-client.ts';
import { makeTar } from '../../../packages/server/src/images/testing/test-image.ts';
import type { Client } from '../client.ts';
import { sha256 } from '../images.ts';
import { only } from '../model.ts';
import type { Random } from '../random.ts';
import { Unanswered, Violation } from '../requests.ts';
import { newSnapshot, untilActive } from './snapshots.ts';
import { RESTING_SNAPSHOT, untilState } from './wait.ts';

const MOST_CONTEXTS = 40;

/** The files of a build, as clients upload them: an archive under a hash of their own. */
export async function uploadContext(client: Client, random: Random): Promise<{ hash: string; sha256: string }> {
  const { model, requests } = client;
  const content = `a file of a context ${random.below(2 ** 30)}\n`.repeat(1 + random.below(300));
  const hash = sha256(content).slice(0, 32);
  const access = (await requests.api('/object-storage/push-access')).json();
  const path = `/${access.bucket}/${access.organizationId}/${hash}/context.tar`;
  const body = makeTar({ file: content });
  const answer = await ask(access.storageUrl, access, { method: 'PUT', path, body }).catch((error: unknown) => {
    throw new Unanswered(`upload of ${hash}: ${String(error)}`);
  });
  if (answer.status !== 200) throw new Violation(`the upload of ${hash} was answered ${answer.status}: ${answer.text}`);
  const context = { hash, sha256: sha256(content) };
  if (model.contexts.size < MOST_CONTEXTS) model.contexts.set(hash, context);
  return context;
}

/** Some steps are those of other builds, so that they are cached, or shared while they run. */
export async function buildSnapshot(client: Client, random: Random): Promise<void> {
  const { reference, files } = random.pick(client.images);
  const known = [...client.model.contexts.values()];
  const context = known.length > 3 && random.chance(0.7) ? random.pick(known) : await uploadContext(client, random);
  const common = random.below(6);
  const own = random.below(100_000);
  const dockerfile = [
    `FROM ${reference}`,
    `RUN mkdir -p /built && echo common ${common} > /built/common`,
    'COPY file /built/copied',
    `RUN echo own ${own} > /built/own && rm -f /mark/lower`,
  ];
  const built = new Map([
    ...[...files].filter(([path]) => path !== '/mark/lower'),
    ['/built/common', sha256(`common ${common}\n`)],
    ['/built/copied', context.sha256],
    ['/built/own', sha256(`own ${own}\n`)],
  ] as const);
  const snapshot = newSnapshot(client, random, built, ['absent', 'active']);
  const buildInfo = { dockerfileContent: `${dockerfile.join('\n')}\n`, contextHashes: [context.hash] };
  const answer = await client.requests.api('/snapshots', { method: 'POST', body: { name: snapshot.name, buildInfo } });
  snapshot.id = answer.json().id;
  await untilActive(client, random, snapshot);
}

/** Begins a build that takes a while, and cancels it. */
export async function cancelBuild(client: Client, random: Random): Promise<void> {
  const { reference, files } = random.pick(client.images);
  const snapshot = newSnapshot(client, random, files, ['absent', 'active']);
  const buildInfo = { dockerfileContent: `FROM ${reference}\nRUN sleep 0.5 && true ${random.below(100_000)}\n` };
  const answer = await client.requests.api('/snapshots', { method: 'POST', body: { name: snapshot.name, buildInfo } });
  snapshot.id = answer.json().id;
  snapshot.fates = only('active');
  await sleep(random.below(200));
  snapshot.fates = new Set(['active', 'error']);
  const path = `/snapshots/${snapshot.id}/cancel`;
  const { status } = await client.requests.api(path, { method: 'POST', expect: [200, 409] });
  if (status === 200) snapshot.fates = only('error');
  else await untilState(client.requests, `/snapshots/${snapshot.id}`, RESTING_SNAPSHOT);
}
