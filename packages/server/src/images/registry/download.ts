import { backOff } from './backoff.ts';
import type { EndpointClient } from './endpoint-client.ts';
import { failureOfConnection, RegistryFailure } from './failure.ts';
import type { RegistryLimits } from './limits.ts';
import type { TransportResponse } from './transport.ts';

export interface BlobDescriptor {
  digest: string;
  size: number;
}

/**
 * The bytes of a blob, each once and in order, however often the connection breaks: it is asked for again from where it
 * broke, at the same endpoint or, since the content has its digest as its name, at the next. Who reads verifies the digest.
 */
export async function* download(
  clients: readonly EndpointClient[],
  blob: BlobDescriptor,
  limits: RegistryLimits,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const failures: RegistryFailure[] = [];
  let received = 0;
  let resumes = 0;
  for (const [index, client] of clients.entries()) {
    const attempts = index === clients.length - 1 ? limits.attempts : limits.mirrorAttempts;
    for (let attempt = 1; received < blob.size; attempt++) {
      const before = received;
      try {
        for await (const chunk of readFrom(client, blob, received, limits, signal)) {
          received += chunk.length;
          yield chunk;
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RegistryFailure)) throw error;
        const gotOn = received > before && ++resumes <= limits.resumes;
        if (gotOn) attempt = 0;
        else if (!canContinue(error, attempt, attempts)) {
          failures.push(error);
          break;
        }
        await backOff(Math.max(attempt, 1), error, limits, signal);
      }
    }
    if (received === blob.size) return;
  }
  throw combined(failures, blob);
}

function canContinue(failure: RegistryFailure, attempt: number, attempts: number): boolean {
  return attempt < attempts && failure.isTemporary && failure.kind !== 'unreachable';
}

function combined(failures: readonly RegistryFailure[], blob: BlobDescriptor): RegistryFailure {
  const last = failures.at(-1);
  if (last === undefined) return new RegistryFailure('interrupted', `the blob ${blob.digest} could not be read`);
  if (failures.length === 1) return last;
  return new RegistryFailure(last.kind, failures.map(({ message }) => message).join('; '), last);
}

/** One answer, from `offset` on, to the blob's end. */
async function* readFrom(
  client: EndpointClient,
  blob: BlobDescriptor,
  offset: number,
  limits: RegistryLimits,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const { what, response } = await client.open(`blobs/${blob.digest}`, offset, signal);
  try {
    let skip = checkStart(what, response, blob, offset);
    let left = blob.size - offset;
    for await (const chunk of paced(what, response, limits, signal)) {
      // A server that knows no ranges sends from the start again.
      const fresh = skip === 0 ? chunk : chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - fresh.length;
      left -= fresh.length;
      if (left < 0)
        throw new RegistryFailure('invalid', `${what}: more than the ${blob.size} bytes that the manifest says`);
      if (fresh.length > 0) yield fresh;
    }
    if (left > 0) throw new RegistryFailure('interrupted', `${what}: ended ${left} bytes early`);
  } finally {
    response.body.on('error', () => {}).destroy();
  }
}

/** Returns how many bytes must be skipped to come to `offset`. */
function checkStart(what: string, response: TransportResponse, blob: BlobDescriptor, offset: number): number {
  const partial = response.statusCode === 206;
  const expected = partial ? blob.size - offset : blob.size;
  const length = response.headers['content-length'];
  if (length !== undefined && Number(length) !== expected) {
    const found = `${length} bytes where ${expected} must be`;
    throw new RegistryFailure('invalid', `${what}: ${found}, so it is not ${blob.digest}`);
  }
  if (!partial) return offset;
  const range = /^bytes (\d+)-/.exec(String(response.headers['content-range'] ?? ''));
  if (Number(range?.[1]) !== offset) throw new RegistryFailure('response', `${what}: another range than was asked for`);
  return 0;
}

/** The body's chunks; only time spent waiting for the server counts, not time that the reader takes. */
async function* paced(
  what: string,
  response: TransportResponse,
  limits: RegistryLimits,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const chunks = response.body[Symbol.asyncIterator]();
  let waited = 0;
  let bytes = 0;
  for (;;) {
    const since = performance.now();
    const next = await chunks.next().catch((error: unknown) => {
      signal.throwIfAborted();
      throw failureOfConnection(what, error);
    });
    if (next.done === true) return;
    if (!Buffer.isBuffer(next.value)) continue;
    waited += performance.now() - since;
    bytes += next.value.length;
    if (bytes >= limits.slowBytes) {
      waited = 0;
      bytes = 0;
    } else if (waited > limits.slowMs) {
      throw new RegistryFailure('timeout', `${what}: only ${bytes} bytes came in ${Math.round(waited / 1000)} s`);
    }
    yield next.value;
  }
}
