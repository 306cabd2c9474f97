import { Webhook } from 'standardwebhooks';
import type { RemoteAgent } from '../builds/files/remote-agent.ts';
import { AddressRefused } from '../images/registry/failure.ts';
import { messageOf } from '../platform/errors.ts';

export interface OutgoingWebhook {
  /** The same at each attempt, so that receivers can tell a repetition. */
  id: string;
  url: string;
  payload: string;
  secrets: readonly string[];
}

export interface SendResult {
  ok: boolean;
  status: number | null;
  error: string | null;
}

const WHOLE_MS = 20_000;
const MAX_ANSWER_BYTES = 64 * 1024;

/** One attempt. Never raises; a redirect is an answer like any other, since it could lead anywhere. */
export async function sendWebhook(agent: RemoteAgent, hook: OutgoingWebhook, signal: AbortSignal): Promise<SendResult> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(WHOLE_MS)]);
  try {
    const { origin, pathname, search } = new URL(hook.url);
    const dispatcher = await agent.open();
    const { statusCode, body } = await dispatcher.request({
      origin,
      path: `${pathname}${search}`,
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'darkroom-webhooks/1', ...signatureOf(hook) },
      body: hook.payload,
      signal: within,
    });
    // Nobody reads it; it is taken only so that the connection can be used again.
    await body.dump({ limit: MAX_ANSWER_BYTES, signal: within });
    const ok = statusCode >= 200 && statusCode < 300;
    return { ok, status: statusCode, error: ok ? null : `It answered ${statusCode}` };
  } catch (error) {
    return { ok: false, status: null, error: explain(error, within) };
  }
}

/** Under the names of Svix and those of Standard Webhooks, whose libraries look for their own. */
export function signatureOf({ id, payload, secrets }: Omit<OutgoingWebhook, 'url'>, now = new Date()) {
  const timestamp = String(Math.floor(now.getTime() / 1000));
  const signature = secrets.map((secret) => new Webhook(secret).sign(id, now, payload)).join(' ');
  return {
    ...{ 'svix-id': id, 'svix-timestamp': timestamp, 'svix-signature': signature },
    ...{ 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature },
  };
}

function explain(error: unknown, within: AbortSignal): string {
  for (let inner: unknown = error; inner instanceof Error; inner = inner.cause) {
    if (inner instanceof AddressRefused) return 'It leads to an address that webhooks are not sent to';
  }
  if (within.aborted) return `It did not answer within ${WHOLE_MS / 1000} seconds`;
  return messageOf(error);
}
