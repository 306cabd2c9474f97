import { failureOfConnection, RegistryFailure } from '../../images/registry/failure.ts';
import { DarkroomError, invalidRequest } from '../../platform/errors.ts';

/** What a failed connection to the place that ADD names means to the author of the Dockerfile. `what` has no secrets. */
export function connectionError(what: string, error: unknown): DarkroomError {
  if (error instanceof DarkroomError) return error;
  const failure = failureOfConnection(what, error);
  if (failure instanceof RegistryFailure && failure.kind === 'policy') {
    return invalidRequest(`${what}: builds do not fetch from this address`, {
      hint: 'Addresses of private networks must be allowed by whoever runs the server.',
      cause: error,
    });
  }
  return new DarkroomError('unavailable', failure.message, { retryable: true, cause: error });
}

/** What stands before the @ is for the host that the Dockerfile names, and for no other. */
export function credentialsFor(url: URL, start: URL): Record<string, string> {
  if (url.origin !== start.origin || start.username === '') return {};
  const pair = `${decoded(start.username)}:${decoded(start.password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A percent sign that quotes nothing stands for itself.
    return text;
  }
}
