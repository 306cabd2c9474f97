/** Every wait of the client has one of these bounds. */
export interface RegistryLimits {
  /** DNS, TCP and TLS together. */
  connectMs: number;
  /** The same for the https attempt at a registry that may also speak http, which then is tried. */
  probeMs: number;
  /** From the request to the headers: registries that fetch from elsewhere take their time. */
  headersMs: number;
  /** Between two pieces of a body. */
  idleMs: number;
  /** A download that brings fewer than `slowBytes` in `slowMs` of waiting counts as stalled, however often a byte drips. */
  slowMs: number;
  slowBytes: number;
  /** Manifests, configs and tokens, from request to last byte. */
  documentMs: number;
  /** Tries of one request, or of a download that does not get on. */
  attempts: number;
  /** The same where another place can be asked; two, because a kept connection may have ended in the meantime. */
  mirrorAttempts: number;
  /** Breaks of one download, each after some progress. */
  resumes: number;
  backoffMs: number;
  maxBackoffMs: number;
  /** A registry that asks for more patience than this is given up on. */
  maxRetryAfterMs: number;
}

export const REGISTRY_LIMITS: RegistryLimits = {
  connectMs: 10_000,
  probeMs: 3_000,
  headersMs: 60_000,
  idleMs: 30_000,
  slowMs: 60_000,
  slowBytes: 64 * 1024,
  documentMs: 90_000,
  attempts: 4,
  mirrorAttempts: 2,
  resumes: 32,
  backoffMs: 400,
  maxBackoffMs: 8_000,
  maxRetryAfterMs: 30_000,
};

export const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
/** Members and elements of its JSON: a few thousand in the largest of real ones. */
export const MAX_DOCUMENT_VALUES = 100_000;
/** Go's client, which Docker and all others use, follows ten. */
export const MAX_REDIRECTS = 10;
/** Docker stops at 127; overlayfs takes 500 lower directories. */
export const MAX_LAYERS = 256;
