import { type EventName, eventName } from '../lifecycle/events/event-name.ts';
import type { LifecycleEvent } from '../lifecycle/events/read-events.ts';

export interface WebhookMessage {
  type: EventName;
  /** JSON: the bytes that are signed. */
  payload: string;
}

/** What receivers are told of an event. */
export function webhookMessage(event: LifecycleEvent): WebhookMessage {
  const type = eventName(event);
  const at = event.at.toISOString();
  const common = {
    event: type,
    timestamp: at,
    id: event.subjectId,
    name: event.subjectName ?? '',
    organizationId: event.organizationId,
  };
  return { type, payload: JSON.stringify({ ...common, ...detailsOf(type, event, at) }) };
}

function detailsOf(type: EventName, event: LifecycleEvent, at: string): Record<string, unknown> {
  if (type === 'snapshot.removed') return { removedAt: at };
  if (event.from === null) return { state: event.to, createdAt: at };
  return { oldState: event.from, newState: event.to, updatedAt: at };
}
