import { DarkroomError } from '../../platform/errors.ts';
import { formatReference } from '../reference.ts';
import type { ImageReference } from '../types.ts';
import { type FailureKind, RegistryFailure } from './failure.ts';

const HINTS: Readonly<Record<FailureKind, string | undefined>> = {
  denied:
    'The image does not exist, or its registry wants other credentials: add them with POST /api/docker-registry (fields name, url, username, password).',
  not_found: 'Check the name and the tag of the image.',
  rate_limited:
    'The registry limits how often it may be asked: try again later, add credentials with POST /api/docker-registry, or configure a mirror (registries.mirrors).',
  server: 'The registry has a problem of its own: try again later.',
  response: 'Check that the host in the name of the image is a container registry.',
  unreachable:
    'Check the host in the name of the image, and that this server can reach it; registries.mirrors can name another place for its images.',
  interrupted: 'Try again.',
  timeout: 'Try again; if it stays so, check the network between this server and the registry.',
  tls: 'Give the registry a certificate of a known authority, name its authority in registries.caFiles, or the registry in registries.insecure.',
  policy:
    'A registry without https must be named in registries.insecure; link-local and metadata addresses are never asked.',
  invalid: undefined,
};

/** The error that the floors above see; the last failure decides its code and hint, the message names all. */
export function imageError(reference: ImageReference, failures: readonly RegistryFailure[]): DarkroomError {
  const name = formatReference(reference);
  const last = failures.at(-1) ?? new RegistryFailure('response', 'nothing to ask');
  const invalid = last.kind === 'invalid';
  const message = failures.map((failure) => failure.message).join('; ');
  return new DarkroomError(
    invalid ? 'image_invalid' : 'image_unavailable',
    `${invalid ? 'The image' : 'Cannot fetch the image'} ${name}${invalid ? ' is refused' : ''}: ${message}`,
    {
      ...hintFor(last, failures),
      retryable: last.isTemporary,
      details: {
        image: name,
        reason: last.kind,
        ...(last.status === undefined ? {} : { status: last.status }),
        ...(last.registryCode === undefined ? {} : { registryCode: last.registryCode }),
        ...(last.retryAfterMs === undefined ? {} : { retryAfterMs: last.retryAfterMs }),
      },
      cause: last,
    },
  );
}

/** Where a mirror knows of no such image and its registry is out of reach, a slip in the name is likelier than a host that is away. */
const NOT_IN_MIRRORS =
  'No mirror has it: check the name and the tag of the image. The registry itself cannot be reached from this server.';

function hintFor({ kind }: RegistryFailure, failures: readonly RegistryFailure[]): { hint?: string } {
  const isMissing = kind === 'unreachable' && failures.some((failure) => failure.kind === 'not_found');
  const hint = isMissing ? NOT_IN_MIRRORS : HINTS[kind];
  return hint === undefined ? {} : { hint };
}
