import type { StepEvent } from './step-cache.ts';

/** What one event costs beside its bytes. */
const OVERHEAD = 100;
const MAX_BYTES = 1024 * 1024;
const NEWLINE = 10;

/** What a step told so far, for those who join it later: the last of it, when it is too much. */
export interface EventReplay {
  add(event: StepEvent): void;
  events(): StepEvent[];
}

export function createEventReplay(maxBytes: number = MAX_BYTES): EventReplay {
  let kept: StepEvent[] = [];
  /** Events before this index of `kept` are left out. */
  let first = 0;
  let bytes = 0;
  let linesLeftOut = 0;

  return {
    add(event) {
      // A copy: what the caller has may be a small piece of a large buffer, or be written to again.
      kept.push(event.kind === 'output' ? { ...event, bytes: new Uint8Array(event.bytes) } : event);
      bytes += costOf(event);
      for (let oldest = kept[first]; bytes > maxBytes && first < kept.length - 1 && oldest; oldest = kept[first]) {
        bytes -= costOf(oldest);
        linesLeftOut += linesOf(oldest);
        first++;
      }
      if (first * 2 < kept.length) return;
      kept = kept.slice(first);
      first = 0;
    },
    events() {
      const events = kept.slice(first);
      if (linesLeftOut === 0) return events;
      const lines = linesLeftOut === 1 ? 'One earlier line is' : `${linesLeftOut} earlier lines are`;
      return [{ kind: 'note', text: `${lines} left out here; the build that began this step has them.` }, ...events];
    },
  };
}

function costOf(event: StepEvent): number {
  return OVERHEAD + (event.kind === 'output' ? event.bytes.length : event.text.length * 2);
}

function linesOf(event: StepEvent): number {
  if (event.kind === 'note') return 1;
  let lines = 0;
  for (const byte of event.bytes) if (byte === NEWLINE) lines++;
  return lines;
}
