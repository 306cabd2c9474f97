import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { sha256 } from './layer-blob.ts';

/** An image of these layers as a directory, for tools that read one. */
export function writeOciLayout(directory: string, tag: string, archives: readonly Buffer[]): void {
  const blobs = join(directory, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const write = (bytes: Buffer, mediaType: string) => {
    const digest = sha256(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  const config = write(
    json({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: archives.map(sha256) },
      history: archives.map(() => ({ created_by: 'test' })),
    }),
    'application/vnd.oci.image.config.v1+json',
  );
  const layers = archives.map((archive) => write(gzipSync(archive), 'application/vnd.oci.image.layer.v1.tar+gzip'));
  const manifest = write(json({ schemaVersion: 2, config, layers }), 'application/vnd.oci.image.manifest.v1+json');
  const annotations = { 'org.opencontainers.image.ref.name': tag };
  writeFileSync(join(directory, 'index.json'), json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }));
  writeFileSync(join(directory, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
}
