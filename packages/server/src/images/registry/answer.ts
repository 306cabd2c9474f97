import { z } from 'zod';
import { readDocument } from './body.ts';
import { type FailureKind, RegistryFailure } from './failure.ts';
import type { TransportResponse } from './transport.ts';

const MAX_ERROR_BYTES = 64 * 1024;
const MAX_ERROR_TEXT = 300;

const errorBody = z.object({
  errors: z.array(z.object({ code: z.string().optional(), message: z.string().optional() })).min(1),
});
/** Token servers answer like OAuth (RFC 6749, section 5.2) or with a bare text. */
const oauthError = z.object({
  error: z.string().optional(),
  error_description: z.string().optional(),
  details: z.string().optional(),
});

/** Turns an answer that is no success into a failure, with what the registry itself says about it. */
export async function failureOfAnswer(
  what: string,
  response: TransportResponse,
  signal: AbortSignal,
): Promise<RegistryFailure> {
  const status = response.statusCode;
  const { code, message } = await readError(what, response, signal);
  const words = [code, message].filter((part) => part !== undefined && part !== '').join(': ');
  const retryAfterMs = parseRetryAfter(response.headers['retry-after']);
  return new RegistryFailure(kindOf(status), `${what}: ${status}${words === '' ? '' : ` ${words}`}`, {
    status,
    registryCode: code,
    retryAfterMs,
  });
}

function kindOf(status: number): FailureKind {
  if (status === 401 || status === 403) return 'denied';
  if (status === 404) return 'not_found';
  if (status === 429) return 'rate_limited';
  if (status === 408) return 'timeout';
  return status >= 500 ? 'server' : 'response';
}

async function readError(
  what: string,
  response: TransportResponse,
  signal: AbortSignal,
): Promise<{ code?: string | undefined; message?: string | undefined }> {
  let parsed: unknown;
  try {
    parsed = JSON.parse((await readDocument(what, response, MAX_ERROR_BYTES, signal)).toString('utf8'));
  } catch {
    // The status says enough.
    signal.throwIfAborted();
    return {};
  }
  const registry = errorBody.safeParse(parsed);
  if (registry.success) {
    const [first] = registry.data.errors;
    return { code: clean(first?.code), message: clean(first?.message) };
  }
  const oauth = oauthError.safeParse(parsed);
  return oauth.success
    ? { code: clean(oauth.data.error), message: clean(oauth.data.error_description ?? oauth.data.details) }
    : {};
}

/** Foreign text goes into messages and logs: one line, not long. */
function clean(text: string | undefined): string | undefined {
  return text
    ?.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_ERROR_TEXT);
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3). */
export function parseRetryAfter(header: string | string[] | undefined, now = Date.now()): number | undefined {
  if (typeof header !== 'string') return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header.trim()) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
