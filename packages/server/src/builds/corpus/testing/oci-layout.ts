import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BASE_NAMES, type BaseName, baseConfigBlob, baseLayerTar, digestOf } from './base-image.ts';

/** Writes the base images into an OCI layout and answers the digests of their manifests. Their tags are the last parts of their names. */
export async function writeBaseLayout(directory: string): Promise<Map<BaseName, string>> {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const layer = await baseLayerTar();
  const put = (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const manifests = BASE_NAMES.map((name) => {
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: put('application/vnd.oci.image.config.v1+json', baseConfigBlob(name, layer)),
      layers: [put('application/vnd.oci.image.layer.v1.tar', layer)],
    };
    const descriptor = put(manifest.mediaType, Buffer.from(JSON.stringify(manifest)));
    return { name, ...descriptor, annotations: { 'org.opencontainers.image.ref.name': tagOf(name) } };
  });
  const index = { schemaVersion: 2, manifests: manifests.map(({ name: _, ...descriptor }) => descriptor) };
  writeFileSync(join(directory, 'index.json'), JSON.stringify(index));
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return new Map(manifests.map(({ name, digest }) => [name, digest]));
}

export function tagOf(name: BaseName): string {
  return name.slice(name.lastIndexOf('/') + 1);
}
