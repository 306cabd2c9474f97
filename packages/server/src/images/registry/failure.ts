/** Why a request to a registry gave nothing; decides what is tried next, the error's code and its hint. */
export type FailureKind =
  /** 401, 403, or the token server refuses. */
  | 'denied'
  | 'not_found'
  | 'rate_limited'
  /** 5xx. */
  | 'server'
  /** An answer that no registry gives: other statuses, redirects in a circle, no JSON. */
  | 'response'
  /** No such host, connection refused, no route. */
  | 'unreachable'
  /** The connection broke, or the body ended early. */
  | 'interrupted'
  | 'timeout'
  | 'tls'
  /** We do not go there: a metadata address, http where https must be. */
  | 'policy'
  /** The bytes are not what was asked for: another digest, too many of them. */
  | 'invalid';

export interface FailureDetails {
  status?: number | undefined;
  /** From the registry's JSON, such as `MANIFEST_UNKNOWN`. */
  registryCode?: string | undefined;
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** Stays inside this folder; the floors above get a DarkroomError (see `unavailable.ts`). The message has no secrets. */
export class RegistryFailure extends Error {
  override readonly name = 'RegistryFailure';
  readonly kind: FailureKind;
  readonly status: number | undefined;
  readonly registryCode: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(kind: FailureKind, message: string, details: FailureDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.status = details.status;
    this.registryCode = details.registryCode;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** The same request may succeed a little later. */
  get isTemporary(): boolean {
    return ['rate_limited', 'server', 'unreachable', 'interrupted', 'timeout'].includes(this.kind);
  }
}

/** Signed download URLs carry their secret in the query, and careless ones in the user part. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`;
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'EADDRNOTAVAIL',
]);
const TIMEOUTS = new Map([
  ['UND_ERR_CONNECT_TIMEOUT', 'no connection in time'],
  ['UND_ERR_HEADERS_TIMEOUT', 'no answer in time'],
  ['UND_ERR_BODY_TIMEOUT', 'the download stalled'],
  ['ETIMEDOUT', 'timed out'],
]);
const BROKEN = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'UND_ERR_SOCKET',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
]);

/** What a failed socket or a broken HTTP answer means. */
export function failureOfConnection(what: string, error: unknown): RegistryFailure {
  if (error instanceof RegistryFailure) return error;
  const refused = policyCause(error);
  if (refused !== undefined) return new RegistryFailure('policy', `${what}: ${refused.message}`, { cause: error });
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const text = error instanceof Error ? error.message || code : String(error);
  if (UNREACHABLE.has(code)) return new RegistryFailure('unreachable', `${what}: ${text}`, { cause: error });
  const late = TIMEOUTS.get(code);
  if (late !== undefined) return new RegistryFailure('timeout', `${what}: ${late}`, { cause: error });
  if (BROKEN.has(code))
    return new RegistryFailure('interrupted', `${what}: the connection broke (${text})`, { cause: error });
  if (isTlsCode(code)) return new RegistryFailure('tls', `${what}: ${text} (${code})`, { cause: error });
  return new RegistryFailure('response', `${what}: ${text}`, { cause: error });
}

function isTlsCode(code: string): boolean {
  return (
    code === 'EPROTO' ||
    /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_)/.test(
      code,
    )
  );
}

/** Raised by the connector before it connects; sockets wrap it. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

function policyCause(error: unknown): AddressRefused | undefined {
  if (error instanceof AddressRefused) return error;
  if (error instanceof AggregateError) return error.errors.find((inner) => inner instanceof AddressRefused);
  return error instanceof Error && error.cause instanceof AddressRefused ? error.cause : undefined;
}
