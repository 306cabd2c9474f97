import type { Kysely } from 'kysely';
import { createRemoteAgent } from '../builds/files/remote-agent.ts';
import { startAlarm } from '../lifecycle/alarm.ts';
import type { Database } from '../platform/db/schema.ts';
import type { EventBus } from '../platform/events.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { Log } from '../platform/log.ts';
import type { SecretBox } from '../platform/secrets.ts';
import {
  type Busy,
  type ClaimedDelivery,
  claimDeliveries,
  giveBack,
  msToNextDelivery,
  noteAttempt,
  PER_ORGANIZATION,
} from './deliveries.ts';
import { secretContext } from './endpoints.ts';
import { noteFailure, noteSuccess } from './failing-endpoints.ts';
import { enabledEndpoints, fanOut } from './fan-out.ts';
import { type SendResult, sendWebhook } from './send.ts';

export interface WebhookDeps {
  db: Kysely<Database>;
  events: Pick<EventBus, 'subscribe'>;
  secrets: Pick<SecretBox, 'open'>;
  settings: { allowInternal: boolean; caFiles: readonly string[] };
  log: Pick<Log, 'error' | 'warn'>;
}

/** What sends webhooks in the background. */
export interface Webhooks {
  /** Endpoints or deliveries have changed. */
  wake(): void;
  /** Attempts that are under way are cut short, and made again by the next server. */
  close(): Promise<void>;
}

const MAX_IN_FLIGHT = 4 * PER_ORGANIZATION;
/** Changes come in bursts; one look is enough for those of one. */
const GATHER_MS = 50;
/** For changes whose message was lost. */
const LOOK_MS = 30_000;

export function startWebhooks(deps: WebhookDeps): Webhooks {
  const { db, log } = deps;
  const agent = createRemoteAgent(deps.settings);
  const closing = new AbortController();
  const inFlight = new Map<Promise<void>, ClaimedDelivery>();
  let hasEndpoints = true;
  let isAllDirty = true;
  const dirty = new Set<string>();
  let lookedAt = Number.NEGATIVE_INFINITY;
  const isLate = () => performance.now() - lookedAt >= LOOK_MS;

  function busy(): Busy {
    const counts = new Map<string, number>();
    for (const { organization_id: id } of inFlight.values()) counts.set(id, (counts.get(id) ?? 0) + 1);
    const organizations = [...counts].flatMap(([id, count]) => (count >= PER_ORGANIZATION ? [id] : []));
    return { endpoints: [...new Set([...inFlight.values()].map((claimed) => claimed.endpoint_id))], organizations };
  }

  async function makeDeliveries(signal: AbortSignal): Promise<void> {
    const isOfAll = isAllDirty || isLate();
    const organizations = isOfAll ? undefined : [...dirty];
    isAllDirty = false;
    dirty.clear();
    if (isOfAll) lookedAt = performance.now();
    try {
      const endpoints = await enabledEndpoints(db, organizations);
      if (isOfAll) hasEndpoints = endpoints.length > 0;
      for (const { id, organization_id: organizationId } of endpoints) {
        let state: Awaited<ReturnType<typeof fanOut>>;
        do {
          state = await fanOut(db, id, (count) =>
            log.warn(
              { endpoint: id, count },
              'too much waits for a webhook endpoint, and new events are not sent to it',
            ),
          );
          if (state === 'more') sender.wake();
        } while (state === 'more' && !signal.aborted);
        if (state === 'soon') dirty.add(organizationId);
      }
    } catch (error) {
      isAllDirty = true;
      throw error;
    }
  }

  async function send(claimed: ClaimedDelivery): Promise<SendResult> {
    let secrets: string[];
    try {
      secrets = secretsOf(deps, claimed);
    } catch (error) {
      // An attempt like any other, or it would be made again every minute.
      log.error({ err: error, endpoint: claimed.endpoint_id }, 'the secret of a webhook endpoint cannot be read');
      return { ok: false, status: null, error: 'Its secret cannot be read; rotate it' };
    }
    const { id, url, payload } = claimed;
    return sendWebhook(agent, { id: `msg_${id}`, url, payload, secrets }, closing.signal);
  }

  async function note(claimed: ClaimedDelivery, result: SendResult): Promise<void> {
    await noteAttempt(db, claimed, result);
    const { endpoint_id: endpoint, organization_id: organization } = claimed;
    if (result.ok) return noteSuccess(db, endpoint);
    const reason = await noteFailure(db, endpoint);
    if (reason !== undefined) log.warn({ endpoint, organization, reason }, 'a webhook endpoint was switched off');
  }

  async function attempt(claimed: ClaimedDelivery): Promise<void> {
    await failpoint('webhook.claimed');
    const result = await send(claimed);
    await failpoint('webhook.sent');
    if (!result.ok && closing.signal.aborted) await giveBack(db, claimed);
    else await note(claimed, result);
    await failpoint('webhook.noted');
  }

  function launch(claimed: ClaimedDelivery): void {
    const work: Promise<void> = attempt(claimed)
      .catch((error: unknown) => log.error({ err: error, delivery: claimed.id }, 'a webhook could not be sent'))
      .finally(() => {
        inFlight.delete(work);
        sender.wake();
      });
    inFlight.set(work, claimed);
  }

  async function sendDue(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && inFlight.size < MAX_IN_FLIGHT) {
      const claimed = await claimDeliveries(db, busy(), MAX_IN_FLIGHT - inFlight.size);
      if (claimed.length === 0) return;
      for (const delivery of claimed) launch(delivery);
    }
  }

  const maker = startAlarm(
    {
      name: 'events for webhooks',
      next: async () => (isAllDirty || dirty.size > 0 || isLate() ? 0 : undefined),
      run: makeDeliveries,
    },
    log,
  );
  const sender = startAlarm(
    {
      name: 'webhooks',
      // What waits for room is asked for again when an attempt ends.
      next: async () => (inFlight.size >= MAX_IN_FLIGHT ? undefined : msToNextDelivery(db, busy())),
      run: sendDue,
    },
    log,
  );
  let gathering: NodeJS.Timeout | undefined;
  const look = () => {
    gathering ??= setTimeout(() => {
      gathering = undefined;
      maker.wake();
    }, GATHER_MS);
  };
  const unsubscribe = deps.events.subscribe(({ organizationId }) => {
    if (!hasEndpoints) return;
    dirty.add(organizationId);
    look();
  });

  return {
    wake() {
      hasEndpoints = true;
      isAllDirty = true;
      look();
      sender.wake();
    },
    async close() {
      unsubscribe();
      clearTimeout(gathering);
      await Promise.all([maker.close(), sender.close()]);
      closing.abort(new Error('the server is stopping'));
      await Promise.all(inFlight.keys());
      await agent.close();
    },
  };
}

function secretsOf({ secrets }: Pick<WebhookDeps, 'secrets'>, claimed: ClaimedDelivery): string[] {
  const context = secretContext(claimed.endpoint_id);
  const { previous_secret: previous, previous_secret_until: until } = claimed;
  const isValid = previous !== null && until !== null && until > new Date();
  return [secrets.open(claimed.secret, context), ...(isValid ? [secrets.open(previous, context)] : [])];
}
