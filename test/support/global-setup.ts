import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { paddedImage } from '../../bench/lib/images.ts';
import { BASE_IMAGE, baseImageLayout } from '../../scripts/base-image.ts';
import { startLocalRegistry } from '../../scripts/local-registry.ts';

/** One registry with the base image for all end-to-end tests; each test file starts a server of its own over it. */
export default async function setup(project: TestProject) {
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-registry-'));
  const { layout } = await baseImageLayout();
  const registry = await startLocalRegistry(directory);
  await registry.push(layout, `library/${BASE_IMAGE}`);
  // What `Image.debianSlim` asks for; the Python in it is the one of Debian.
  await registry.push(layout, 'library/python:3.12.10-slim-bookworm');
  await registry.push(await paddedImage(700, 700), 'library/padded:700mb');
  project.provide('registryUrl', registry.url);
  project.provide('baseImage', BASE_IMAGE);
  project.provide('baseLayout', layout);
  return async () => {
    await registry.close();
    await rm(directory, { recursive: true, force: true });
  };
}

declare module 'vitest' {
  export interface ProvidedContext {
    registryUrl: string;
    baseImage: string;
    baseLayout: string;
  }
}
