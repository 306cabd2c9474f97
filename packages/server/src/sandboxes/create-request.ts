import type { BuildRequest } from '../builds/records.ts';
import { invalidRequest } from '../platform/errors.ts';
import { checkEnvironment } from './environment.ts';
import { checkLabels } from './labels.ts';
import type { NetworkRequest } from './network-policy.ts';

export interface CreateRequest {
  name?: string | undefined;
  /** Name or id; the server's default snapshot without it. */
  snapshot?: string | undefined;
  /** In place of a snapshot. */
  build?: BuildRequest | undefined;
  user?: string | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  isPublic?: boolean | undefined;
  region?: string | undefined;
  resources: Readonly<Record<'cpu' | 'gpu' | 'memory' | 'disk', number | undefined>>;
  autoStopInterval?: number | undefined;
  autoArchiveInterval?: number | undefined;
  autoDeleteInterval?: number | undefined;
  volumes?: readonly unknown[] | undefined;
  network: NetworkRequest;
  linkedSandbox?: string | undefined;
  ttlMinutes?: number | undefined;
  autoPauseInterval?: number | undefined;
  secrets?: readonly unknown[] | undefined;
  outboundProxyUrl?: string | undefined;
}

const USER_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(:[A-Za-z0-9_][A-Za-z0-9_.-]*\$?)?$/;

/** Everything that can be refused without asking the database. */
export function checkCreateRequest(request: CreateRequest): void {
  const { name, resources } = request;
  if (request.snapshot !== undefined && request.build !== undefined) {
    throw invalidRequest('Cannot specify a snapshot when using a build info entry');
  }
  if (request.build === undefined && Object.values(resources).some((amount) => amount !== undefined)) {
    throw invalidRequest('Cannot specify Sandbox resources when using a snapshot');
  }
  if (name !== undefined && (name.trim() === '' || /\p{Cc}/u.test(name))) {
    throw invalidRequest('The name of a sandbox must not be empty or contain control characters');
  }
  if (request.user !== undefined && !USER_PATTERN.test(request.user)) {
    throw invalidRequest(`User ${JSON.stringify(request.user)} is not a valid user name or id`);
  }
  // Dropped without a word, a secret would be missed inside, and a sandbox with a time to live would live for ever.
  const missing = [
    ['Volumes are', (request.volumes ?? []).length > 0],
    ['Linked sandboxes are', isSet(request.linkedSandbox)],
    ['A time to live (ttlMinutes) is', (request.ttlMinutes ?? 0) > 0],
    ['Pausing by itself (autoPauseInterval) is', (request.autoPauseInterval ?? 0) > 0],
    ['Secrets are', (request.secrets ?? []).length > 0],
    ['A proxy for each sandbox (outboundProxyUrl) is', isSet(request.outboundProxyUrl)],
  ] as const;
  for (const [what, isAsked] of missing) {
    if (isAsked) throw invalidRequest(`${what} not supported by this server yet`);
  }
  checkEnvironment(request.env ?? {});
  checkLabels(request.labels ?? {});
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value.trim() !== '';
}
