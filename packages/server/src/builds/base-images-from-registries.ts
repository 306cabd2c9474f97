import type { Kysely } from 'kysely';
import { formatReference, parseReference } from '../images/reference.ts';
import { hostPlatform, platformName } from '../images/registry/platform.ts';
import { createSharedRuns } from '../images/shared-runs.ts';
import type { CredentialLookup, ImagePuller, ImageReference, PulledImage, PullProgress } from '../images/types.ts';
import type { Database } from '../platform/db/schema.ts';
import type { LayerKeeper } from '../snapshots/layer-keeper.ts';
import type { BaseImage, BaseImages } from './base-images.ts';
import { baseImageFailure, isUnreachable, tooLarge } from './base-images-failure.ts';
import { createBaseImageRows, type KnownImage } from './base-images-rows.ts';
import type { BuildFailure } from './failure.ts';

export interface BaseImagesDeps {
  db: Kysely<Database>;
  puller: ImagePuller;
  /** Callers of `obtain` keep a hold until a row of theirs names the layers. */
  layers: LayerKeeper;
  credentialsFor(organizationId: string): CredentialLookup;
  runnerId: string;
}

type Request = Parameters<BaseImages['obtain']>[0];
/** `note` is for all who waited. */
type Outcome = { image: BaseImage; note?: string } | { failure: BuildFailure };

/** Of progress: often enough to see that it goes on, seldom enough for a log. */
const NOTE_EVERY_MS = 3000;

export function createBaseImages({ db, puller, layers, credentialsFor, runnerId }: BaseImagesDeps): BaseImages {
  const rows = createBaseImageRows(db, { runnerId, platform: platformName(hostPlatform()) });
  const runs = createSharedRuns<Outcome, string>();

  async function obtain(
    { organizationId, maxBytes }: Request,
    reference: ImageReference,
    note: (text: string) => void,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const name = formatReference(reference);
    // The build that asked first may go before the others.
    using _hold = layers.hold();
    const known = await rows.find(organizationId, name);
    if (known !== undefined && reference.digest !== undefined && (await layers.hasAll(known.layers))) {
      return { image: await use(known, { isResolved: false }) };
    }
    try {
      const credentials = credentialsFor(organizationId);
      const onProgress = progressNotes(name, note);
      const pulled = await puller.pull(reference, { credentials, signal, maxBytes, known, onProgress });
      return { image: await use(pulled, { isResolved: true }) };
    } catch (error) {
      if (!isUnreachable(error) || known === undefined || !(await layers.hasAll(known.layers))) throw error;
      return {
        image: await use(known, { isResolved: false }),
        note: `${error.message}. Instead, what ${name} meant at ${timeOf(known)} is used: ${known.resolved}`,
      };
    }

    async function use(image: PulledImage, options: { isResolved: boolean }): Promise<BaseImage> {
      if (image.sizeBytes > maxBytes) throw tooLarge(name, image.sizeBytes, maxBytes);
      await rows.note(organizationId, name, image, options);
      const { resolved, config, sizeBytes } = image;
      return { resolved, layers: [...image.layers], config, sizeBytes };
    }
  }

  return {
    async obtain(request, signal) {
      signal.throwIfAborted();
      const reference = read(request.reference);
      const name = formatReference(reference);
      const begin = async (shared: AbortSignal, note: (text: string) => void): Promise<Outcome> => {
        try {
          return await obtain(request, reference, note, shared);
        } catch (error) {
          shared.throwIfAborted();
          // An answer like another: whoever waited for it would hear the same, only later.
          return { failure: baseImageFailure(name, error) };
        }
      };
      const key = `${request.organizationId} ${request.maxBytes} ${name}`;
      const outcome = await runs.join(key, begin, { signal, onReport: request.note });
      if ('failure' in outcome) throw outcome.failure;
      if (outcome.note !== undefined) request.note(outcome.note);
      return outcome.image;
    },
  };
}

function read(text: string): ImageReference {
  try {
    return parseReference(text);
  } catch (error) {
    throw baseImageFailure(text, error);
  }
}

function timeOf({ resolvedAt }: KnownImage): string {
  return `${resolvedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function progressNotes(name: string, note: (text: string) => void): (progress: PullProgress) => void {
  let last = performance.now();
  return ({ phase, downloadedBytes, totalBytes, layersReady, layersTotal }) => {
    if (downloadedBytes === 0) return;
    if (phase === 'done') {
      note(`Pulled ${name}: ${layersTotal} layers, ${megabytes(downloadedBytes)} MB fetched`);
    } else if (performance.now() - last >= NOTE_EVERY_MS) {
      last = performance.now();
      const bytes = `${megabytes(downloadedBytes)} of ${megabytes(totalBytes)} MB`;
      note(`Pulling ${name}: ${bytes}, ${layersReady} of ${layersTotal} layers`);
    }
  };
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
