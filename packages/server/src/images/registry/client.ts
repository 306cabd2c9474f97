import { createHash } from 'node:crypto';
import type { Config } from '../../platform/config-schema.ts';
import type { CredentialLookup, ImageReference } from '../types.ts';
import { download } from './download.ts';
import { createEndpointClient, type EndpointClient } from './endpoint-client.ts';
import { endpointsOf, plainMirrors } from './endpoints.ts';
import { RegistryFailure } from './failure.ts';
import { type ParsedConfig, parseImageConfig } from './image-config.ts';
import { MAX_DOCUMENT_BYTES, REGISTRY_LIMITS, type RegistryLimits } from './limits.ts';
import { type Descriptor, type ImageIndex, type ImageManifest, type Platform, parseManifest } from './manifest.ts';
import { ACCEPT_MANIFESTS } from './media-types.ts';
import { checkPlatform, choosePlatform } from './platform.ts';
import { createSchemeProbe } from './scheme.ts';
import { createTransport } from './transport.ts';
import { imageError } from './unavailable.ts';

/** An image as its registry describes it; layers and diffIDs belong together by position, base first. */
export interface ResolvedImage {
  /** Of what the reference names: the index, where there is one. */
  digest: string;
  layers: { diffId: string; digest: string; size: number }[];
  config: ParsedConfig['config'];
}

/** One repository with the credentials of one pull: mirrors in their order, then the registry. Raises DarkroomErrors. */
export interface RepositoryClient {
  resolve(platform: Platform, signal: AbortSignal): Promise<ResolvedImage>;
  /**
   * Whether the reference still means what has this digest: one request, which counts as no pull where those are counted. False also
   * where the registry does not say, or refuses: `resolve` has the answer then.
   */
  isStill(digest: string, signal: AbortSignal): Promise<boolean>;
  /** The blob's bytes, in order; its digest is for the reader to verify. */
  blob(layer: { digest: string; size: number }, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface RegistryClient {
  repository(reference: ImageReference, credentials: CredentialLookup): RepositoryClient;
  close(): Promise<void>;
}

/** An index may name another one; a chain of them is nobody's image. */
const MAX_INDEX_DEPTH = 3;

export function createRegistryClient(
  registries: Config['registries'],
  limits: RegistryLimits = REGISTRY_LIMITS,
): RegistryClient {
  const insecure = [...registries.insecure, ...plainMirrors(registries.mirrors)];
  const transport = createTransport({ ...registries, insecure }, limits);
  const probe = createSchemeProbe(transport, limits);
  return {
    repository(reference, credentials) {
      const clients = endpointsOf(reference.registry, reference.repository, registries.mirrors).map((endpoint) =>
        createEndpointClient(endpoint, { transport, probe, limits, credentials }),
      );
      return createRepositoryClient(reference, clients, limits);
    },
    close: () => transport.close(),
  };
}

function createRepositoryClient(
  reference: ImageReference,
  clients: readonly EndpointClient[],
  limits: RegistryLimits,
): RepositoryClient {
  // Where the manifest was found the rest is asked for first.
  let preferred = clients;

  /** Asks the endpoints in turn; what a mirror cannot give, or gives wrongly, the next may have. */
  async function firstOf<T>(ask: (client: EndpointClient) => Promise<T>, signal: AbortSignal): Promise<T> {
    const failures: RegistryFailure[] = [];
    for (const client of preferred) {
      try {
        const answer = await ask(client);
        preferred = [client, ...clients.filter((other) => other !== client)];
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RegistryFailure)) throw error;
        failures.push(error);
      }
    }
    throw imageError(reference, failures);
  }

  async function resolveAt(client: EndpointClient, platform: Platform, signal: AbortSignal): Promise<ResolvedImage> {
    const top = await fetchManifest(client, nameOf(reference), reference.digest, signal);
    let found = top.manifest;
    for (let depth = 1; found.kind === 'index'; depth++) {
      if (depth > MAX_INDEX_DEPTH) throw new RegistryFailure('invalid', 'its index names another index, and so on');
      const { digest } = choosePlatform(found, platform);
      found = (await fetchManifest(client, digest, digest, signal)).manifest;
    }
    const { config, diffIds, platform: madeFor } = parseImageConfig(await fetchConfig(client, found.config, signal));
    checkPlatform(madeFor, platform);
    return { digest: top.digest, config, layers: pairLayers(found, diffIds) };
  }

  return {
    resolve: (platform, signal) => firstOf((client) => resolveAt(client, platform, signal), signal),
    isStill: (digest, signal) =>
      firstOf(async (client) => {
        try {
          return (await client.digestOf(`manifests/${nameOf(reference)}`, ACCEPT_MANIFESTS, signal)) === digest;
        } catch (error) {
          // Some registries have no HEAD, or have it wrong. One that does not answer at all need not be asked twice.
          const isOwnNo = error instanceof RegistryFailure && !error.isTemporary && !client.endpoint.isMirror;
          if (isOwnNo) return false;
          throw error;
        }
      }, signal),
    async *blob(layer, signal) {
      try {
        yield* download(preferred, layer, limits, signal);
      } catch (error) {
        throw error instanceof RegistryFailure ? imageError(reference, [error]) : error;
      }
    },
  };
}

function nameOf({ digest, tag }: ImageReference): string {
  return digest ?? tag ?? 'latest';
}

async function fetchManifest(
  client: EndpointClient,
  name: string,
  expected: string | undefined,
  signal: AbortSignal,
): Promise<{ digest: string; manifest: ImageIndex | ImageManifest }> {
  const { headers, bytes } = await client.document(`manifests/${name}`, ACCEPT_MANIFESTS, signal);
  const digest = sha256(bytes);
  const claimed = headers['docker-content-digest'];
  verify('manifest', expected ?? digest, digest);
  // Other algorithms than sha256 are the registry's own affair.
  if (typeof claimed === 'string' && claimed.startsWith('sha256:')) verify('manifest', claimed, digest);
  const type = headers['content-type'];
  return { digest, manifest: parseManifest(bytes, typeof type === 'string' ? type : undefined) };
}

async function fetchConfig(client: EndpointClient, descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
  if (descriptor.size > MAX_DOCUMENT_BYTES) {
    throw new RegistryFailure(
      'invalid',
      `its config has ${descriptor.size} bytes; at most ${MAX_DOCUMENT_BYTES} are supported`,
    );
  }
  const { bytes } = await client.document(`blobs/${descriptor.digest}`, 'application/octet-stream, */*', signal);
  verify('config', descriptor.digest, sha256(bytes));
  return bytes;
}

function pairLayers(manifest: ImageManifest, diffIds: readonly string[]): ResolvedImage['layers'] {
  if (manifest.layers.length !== diffIds.length) {
    const counts = `${manifest.layers.length} layers, its config ${diffIds.length}`;
    throw new RegistryFailure('invalid', `its manifest names ${counts}`);
  }
  return manifest.layers.flatMap(({ digest, size }, position) => {
    const diffId = diffIds[position];
    return diffId === undefined ? [] : [{ diffId, digest, size }];
  });
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function verify(what: string, expected: string, found: string): void {
  if (expected !== found) throw new RegistryFailure('invalid', `the ${what} should be ${expected} and is ${found}`);
}
