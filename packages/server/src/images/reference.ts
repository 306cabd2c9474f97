import { invalidRequest } from '../platform/errors.ts';
import type { ImageReference } from './types.ts';

export const DEFAULT_REGISTRY = 'docker.io';
const DEFAULT_TAG = 'latest';
/** Docker's limit on the path of a repository. */
const MAX_REPOSITORY = 255;
/** A host name (253), a port and the brackets of an address. */
const MAX_REGISTRY = 262;
const MAX_REFERENCE = MAX_REGISTRY + MAX_REPOSITORY + 128 + 80;

const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const REGISTRY = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?$`);
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[\w][\w.-]{0,127}$/;
const DIGEST = /^sha256:[a-f0-9]{64}$/;
const IMAGE_ID = /^[a-f0-9]{64}$/;

export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** Reads what a person or a client calls an image, with Docker's defaults. Raises `invalid_request` with the reason. */
export function parseReference(text: string): ImageReference {
  if (text === '') throw invalidRequest('The image reference is empty');
  if (text.length > MAX_REFERENCE) throw bad(text, `it is longer than ${MAX_REFERENCE} characters`);
  if (text.includes('://')) throw bad(text, 'it must not start with a scheme: write registry/repository:tag');
  if (IMAGE_ID.test(text)) throw bad(text, 'it is the id of an image, not a name');

  const { name, tag, digest } = splitSuffixes(text);
  const { registry, repository } = splitName(name);
  checkRegistry(text, registry);
  checkRepository(text, repository);
  if (tag !== undefined && !TAG.test(tag)) {
    throw bad(text, 'a tag has 1 to 128 letters, digits, dots, dashes and underscores');
  }
  if (digest !== undefined && !DIGEST.test(digest)) {
    throw bad(text, 'a digest is sha256: and 64 lower case hexadecimal digits');
  }
  return { registry, repository, tag: tag ?? (digest === undefined ? DEFAULT_TAG : undefined), digest };
}

/** The full form: `docker.io/library/python:3.12@sha256:…`. Parsing it gives the same reference. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

function splitSuffixes(text: string): { name: string; tag: string | undefined; digest: string | undefined } {
  const at = text.indexOf('@');
  const digest = at === -1 ? undefined : text.slice(at + 1);
  const rest = at === -1 ? text : text.slice(0, at);
  // A colon before the last slash belongs to the registry's port.
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1);
  if (colon === -1) return { name: rest, tag: undefined, digest };
  return { name: rest.slice(0, colon), tag: rest.slice(colon + 1), digest };
}

/** The first component is a registry when it could not be one of Docker Hub's: it has a dot, a colon, or is `localhost`. */
function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = slash === -1 ? '' : name.slice(0, slash);
  if (!/[.:]/.test(first) && first.toLowerCase() !== 'localhost') return hubName(name);
  const registry = first.toLowerCase();
  const repository = name.slice(slash + 1);
  if (registry === DEFAULT_REGISTRY || registry === 'index.docker.io') return hubName(repository);
  return { registry, repository };
}

function hubName(name: string): { registry: string; repository: string } {
  return { registry: DEFAULT_REGISTRY, repository: name.includes('/') ? name : `library/${name}` };
}

function checkRegistry(text: string, registry: string): void {
  if (registry.length > MAX_REGISTRY) throw bad(text, 'the name of its registry is too long');
  const port = /:(\d+)$/.exec(registry.replace(/^\[.*\]/, ''))?.[1];
  // URL also refuses what looks like an address and is none, such as 1.2.3.999.
  if (!REGISTRY.test(registry) || Number(port ?? 1) === 0 || !URL.canParse(`https://${registry}/`)) {
    throw bad(text, `${JSON.stringify(registry)} is no registry host`);
  }
}

function checkRepository(text: string, repository: string): void {
  if (repository.length > MAX_REPOSITORY) {
    throw bad(text, `the name of its repository is longer than ${MAX_REPOSITORY} characters`);
  }
  if (/[A-Z]/.test(repository)) throw bad(text, 'the name of a repository must be lower case');
  if (!repository.split('/').every((component) => COMPONENT.test(component))) {
    throw bad(
      text,
      'the name of a repository has lower case letters and digits, with single dots, dashes or underscores between them',
    );
  }
}

function bad(text: string, reason: string): Error {
  return invalidRequest(`Invalid image reference ${JSON.stringify(text.slice(0, 300))}: ${reason}`);
}
