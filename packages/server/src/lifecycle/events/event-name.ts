import type { LifecycleEvent } from './read-events.ts';

export const EVENT_NAMES = [
  'snapshot.created',
  'snapshot.state.updated',
  'snapshot.removed',
  'sandbox.created',
  'sandbox.state.updated',
] as const;
export type EventName = (typeof EVENT_NAMES)[number];

/** What the outside calls it. */
export function eventName({ subjectType, from, to }: Pick<LifecycleEvent, 'subjectType' | 'from' | 'to'>): EventName {
  if (from === null) return `${subjectType}.created`;
  return subjectType === 'snapshot' && to === 'gone' ? 'snapshot.removed' : `${subjectType}.state.updated`;
}
