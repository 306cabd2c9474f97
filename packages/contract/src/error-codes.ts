/**
 * Every error that a client can see has one of these codes. The HTTP status belongs to the code, so that no dialect
 * decides it a second time. `user` errors are shown as they are; `internal` ones are logged and shown by id only.
 */
export const ERROR_CODES = {
  invalid_request: { status: 400, kind: 'user' },
  unauthenticated: { status: 401, kind: 'user' },
  forbidden: { status: 403, kind: 'user' },
  not_found: { status: 404, kind: 'user' },
  timeout: { status: 408, kind: 'user' },
  conflict: { status: 409, kind: 'user' },
  payload_too_large: { status: 413, kind: 'user' },
  rate_limited: { status: 429, kind: 'user' },
  quota_exceeded: { status: 400, kind: 'user' },
  /** The image cannot be had: it does not exist, needs credentials, or its registry answers badly. */
  image_unavailable: { status: 400, kind: 'user' },
  /** The image's bytes are not what its manifest says, or would harm the host when unpacked. */
  image_invalid: { status: 400, kind: 'user' },
  insufficient_storage: { status: 507, kind: 'user' },
  unavailable: { status: 503, kind: 'user' },
  internal: { status: 500, kind: 'internal' },
} as const satisfies Record<string, { status: number; kind: 'user' | 'internal' }>;

export type ErrorCode = keyof typeof ERROR_CODES;
