import { invalidRequest } from '../platform/errors.ts';
import type { ContextStore } from './contexts/context-store.ts';
import type { BuildRequest } from './records.ts';
import type { BuildEngine } from './types.ts';

/** MD5 from the SDKs, SHA-256 from the CLI; nothing else is read out of them. */
const HASH = /^([0-9a-f]{32}|[0-9a-f]{64})$/;
const MAX_DOCKERFILE_BYTES = 256 * 1024;
/** The environment of a step holds them, beside everything else. */
const MAX_ARGS_BYTES = 128 * 1024;
const MAX_SECRETS = 100;
const MAX_SECRET_BYTES = 512 * 1024;
const MAX_CONTEXTS = 10_000;
const ASKED_AT_ONCE = 32;

/** All that can be refused by looking at the request alone; nothing is looked up. */
export function checkBuildRequest(engine: Pick<BuildEngine, 'check'>, request: BuildRequest): void {
  const { dockerfile, contextHashes, target, buildArgs, secrets } = request;
  if (Buffer.byteLength(dockerfile) > MAX_DOCKERFILE_BYTES) {
    throw invalidRequest(`The Dockerfile is larger than ${MAX_DOCKERFILE_BYTES / 1024} KiB`);
  }
  if (contextHashes.length > MAX_CONTEXTS) {
    throw invalidRequest(`A build takes at most ${MAX_CONTEXTS} contexts; this one has ${contextHashes.length}`);
  }
  for (const hash of contextHashes) {
    if (!HASH.test(hash)) {
      throw invalidRequest(`Context hash ${quoted(hash)} is not 32 or 64 lowercase hexadecimal digits`);
    }
  }
  if (bytesOf(buildArgs) > MAX_ARGS_BYTES) {
    throw invalidRequest(`The build arguments are larger than ${MAX_ARGS_BYTES / 1024} KiB`);
  }
  if (Object.keys(secrets).length > MAX_SECRETS) throw invalidRequest(`A build takes at most ${MAX_SECRETS} secrets`);
  if (bytesOf(secrets) > MAX_SECRET_BYTES) {
    throw invalidRequest(`The secrets are larger than ${MAX_SECRET_BYTES / 1024} KiB`);
  }
  engine.check({ dockerfile, target, buildArgs: new Map(Object.entries(buildArgs)) });
}

/** Each context must be there for this organization, whole. */
export async function checkContexts(
  contexts: Pick<ContextStore, 'find'>,
  organizationId: string,
  hashes: readonly string[],
): Promise<void> {
  const asked = [...new Set(hashes)];
  for (let at = 0; at < asked.length; at += ASKED_AT_ONCE) {
    const some = asked.slice(at, at + ASKED_AT_ONCE);
    const found = await Promise.all(some.map((hash) => contexts.find({ organizationId, hash })));
    const missing = some.find((_, index) => found[index] === undefined);
    if (missing !== undefined) {
      throw invalidRequest(`Context ${missing} was not uploaded`, {
        hint: 'Upload it with the credentials of /object-storage/push-access, and send the request again.',
      });
    }
  }
}

function bytesOf(values: Readonly<Record<string, string>>): number {
  return Object.entries(values).reduce((sum, [name, value]) => sum + Buffer.byteLength(name + value), 0);
}

const quoted = (text: string) => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
