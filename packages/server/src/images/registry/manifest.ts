import { z } from 'zod';
import { hasMoreValuesThan } from '../../platform/json-size.ts';
import { isDigest } from '../reference.ts';
import { RegistryFailure } from './failure.ts';
import { MAX_DOCUMENT_VALUES, MAX_LAYERS } from './limits.ts';
import {
  isForeignLayerType,
  isImageConfigType,
  isIndexType,
  isLayerType,
  isManifestType,
  isSchema1Type,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-types.ts';

const descriptor = z.object({
  mediaType: z.string().max(255),
  digest: z.string().refine(isDigest, 'no sha256 digest'),
  size: z.int().min(0),
  urls: z.array(z.string()).optional(),
});
const platform = z.object({ os: z.string(), architecture: z.string(), variant: z.string().optional() });
const index = z.object({
  manifests: z.array(descriptor.extend({ platform: platform.nullish() })).max(1000),
});
const manifest = z.object({ config: descriptor, layers: z.array(descriptor) });
const common = z.looseObject({
  schemaVersion: z.int().optional(),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
});

export type Descriptor = z.infer<typeof descriptor>;
export type Platform = z.infer<typeof platform>;
export interface ImageIndex {
  kind: 'index';
  manifests: (Descriptor & { platform?: Platform | null | undefined })[];
}
export interface ImageManifest {
  kind: 'manifest';
  config: Descriptor;
  layers: Descriptor[];
}

const invalid = (what: string) => new RegistryFailure('invalid', what);

/** Reads a manifest or an index that is the manifest of a container image; everything else is refused by its name. */
export function parseManifest(bytes: Buffer, contentType: string | undefined): ImageIndex | ImageManifest {
  const json = parseJson(bytes);
  const head = common.safeParse(json);
  if (!head.success) throw invalid('the manifest is no JSON object');
  const type = mediaTypeOf(head.data, contentType);
  // What could be read as either must not be read as one thing here and as another elsewhere (CVE-2021-41190).
  if ('manifests' in head.data && ('layers' in head.data || 'config' in head.data)) {
    throw invalid('the manifest is a manifest and an index at once');
  }
  if (isIndexType(type)) return { kind: 'index', ...read(index, json, 'index') };
  if (!isManifestType(type)) throw invalid(`it is not a container image: its manifest has the media type ${type}`);
  const { config, layers } = read(manifest, json, 'manifest');
  if (!isImageConfigType(config.mediaType)) {
    const artifact = head.data.artifactType ?? config.mediaType;
    throw invalid(`it is not a container image but an artifact of the type ${artifact}`);
  }
  if (layers.length > MAX_LAYERS) throw invalid(`it has ${layers.length} layers; at most ${MAX_LAYERS} are supported`);
  for (const layer of layers) checkLayer(layer);
  return { kind: 'manifest', config, layers };
}

function mediaTypeOf(head: z.infer<typeof common>, contentType: string | undefined): string {
  const sent = contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (isSchema1Type(sent) || head.schemaVersion === 1) {
    throw invalid('its manifest is in the obsolete Docker schema 1; push the image again with a newer tool');
  }
  const known = isIndexType(sent) || isManifestType(sent);
  if (head.mediaType !== undefined) {
    if (known && sent !== head.mediaType) throw invalid(`the manifest says ${head.mediaType}, the registry ${sent}`);
    return head.mediaType;
  }
  if (known) return sent;
  // Registries on plain file servers send any type; OCI makes the field inside optional.
  return 'manifests' in head ? OCI_INDEX : OCI_MANIFEST;
}

function checkLayer(layer: Descriptor): void {
  if (isForeignLayerType(layer.mediaType) || (layer.urls?.length ?? 0) > 0) {
    throw invalid(`its layer ${layer.digest} is not in the registry (a foreign layer, ${layer.mediaType})`);
  }
  if (!isLayerType(layer.mediaType)) {
    throw invalid(`its layer ${layer.digest} has the unknown media type ${layer.mediaType}`);
  }
}

export function parseJson(bytes: Buffer): unknown {
  const json = parse(bytes);
  if (hasMoreValuesThan(MAX_DOCUMENT_VALUES, json)) {
    throw invalid(`its manifest or config has more than ${MAX_DOCUMENT_VALUES} values`);
  }
  return json;
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** Parses what a registry sent; the failure names the first field that is wrong. */
export function read<T>(schema: z.ZodType<T>, json: unknown, what: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`the ${what} is broken at ${issue?.path.join('.') || 'its root'}: ${issue?.message}`);
}
