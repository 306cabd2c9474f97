import type { LifecycleEventDto } from '@darkroom/contract';
import { cursorText } from '../../lifecycle/events/cursor.ts';
import type { LifecycleEvent } from '../../lifecycle/events/read-events.ts';

export function eventDto(event: LifecycleEvent): LifecycleEventDto {
  return {
    id: cursorText(event.cursor),
    timestamp: event.at.toISOString(),
    organizationId: event.organizationId,
    subjectType: event.subjectType,
    subjectId: event.subjectId,
    subjectName: event.subjectName,
    oldState: event.from,
    newState: event.to,
    actor: event.actor,
    reason: event.reason,
  };
}
