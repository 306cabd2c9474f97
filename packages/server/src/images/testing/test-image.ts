import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';

/** Images made in memory, for registries that tests start. */
export interface TestLayer {
  /** Content by path; a path that ends in `/` is a directory. */
  files: Readonly<Record<string, string | Buffer>>;
  /** An archive in their place. */
  tar?: Buffer;
  compression?: 'gzip' | 'zstd' | 'none';
}

export interface TestImage {
  blobs: Map<string, Buffer>;
  layers: { mediaType: string; digest: string; size: number; diffId: string }[];
  config: { mediaType: string; digest: string; size: number };
  manifest: Buffer;
  digest: string;
}

export interface TestImageOptions {
  config?: Record<string, unknown>;
  architecture?: string;
}

const SUFFIX = { gzip: '+gzip', zstd: '+zstd', none: '' };

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export function makeImage(layers: readonly TestLayer[], options: TestImageOptions = {}): TestImage {
  const blobs = new Map<string, Buffer>();
  const keep = (bytes: Buffer) => {
    const digest = sha256(bytes);
    blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  };
  const made = layers.map(({ files, compression = 'gzip', ...given }) => {
    const tar = given.tar ?? makeTar(files);
    const packed = { gzip: gzipSync, zstd: zstdCompressSync, none: (bytes: Buffer) => bytes }[compression](tar);
    const mediaType = `application/vnd.oci.image.layer.v1.tar${SUFFIX[compression]}`;
    return { mediaType, ...keep(packed), diffId: sha256(tar) };
  });
  const configJson = {
    architecture: options.architecture ?? { x64: 'amd64' }[process.arch as string] ?? process.arch,
    os: 'linux',
    config: options.config ?? {},
    rootfs: { type: 'layers', diff_ids: made.map(({ diffId }) => diffId) },
  };
  const config = {
    mediaType: 'application/vnd.oci.image.config.v1+json',
    ...keep(Buffer.from(JSON.stringify(configJson))),
  };
  const manifest = manifestOf({ config, layers: made });
  return { blobs, layers: made, config, manifest, digest: keep(manifest).digest };
}

export function manifestOf(image: Pick<TestImage, 'config' | 'layers'>): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: image.config,
      layers: image.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    }),
  );
}

/** An OCI layout (image-layout.md) with one image under the tag `latest`, as `skopeo` and `umoci` read it. */
export async function writeLayout(directory: string, image: TestImage): Promise<void> {
  await mkdir(join(directory, 'blobs/sha256'), { recursive: true });
  for (const [digest, bytes] of image.blobs) await writeFile(join(directory, 'blobs', digest.replace(':', '/')), bytes);
  const entry = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: image.digest,
    size: image.manifest.length,
    annotations: { 'org.opencontainers.image.ref.name': 'latest' },
  };
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

/** A ustar archive. */
export function makeTar(files: TestLayer['files']): Buffer {
  const parts = Object.entries(files).flatMap(([name, content]) => {
    const data = Buffer.from(content);
    return [tarHeader(name, data.length), data, Buffer.alloc((512 - (data.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

function tarHeader(name: string, size: number): Buffer {
  const isDirectory = name.endsWith('/');
  const header = Buffer.alloc(512);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  header.write(name, 0);
  header.write(octal(isDirectory ? 0o755 : 0o644, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(size, 11), 124);
  header.write(octal(1_700_000_000, 11), 136);
  header.write('        ', 148);
  header.write(isDirectory ? '5' : '0', 156);
  header.write('ustar\x0000', 257);
  header.write(
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      6,
    )} `,
    148,
  );
  return header;
}
