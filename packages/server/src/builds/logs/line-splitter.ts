import { createRedrawnRows } from './redrawn-rows.ts';
import { createTerminalReader } from './terminal-text.ts';

/** Longer lines are cut into pieces of this many UTF-16 units. */
export const MAX_LINE = 16 * 1024;
/** A line that is drawn again and again is shown at most this often before it ends. */
const REDRAW_MS = 1_000;
/** A line that has no end yet is shown after this time without more of it; every time it goes on, twice as long is waited. */
const QUIET_MS = 500;
const MAX_QUIET_MS = 30_000;

export interface LineSplitter {
  push(bytes: Uint8Array): void;
  /** When `showUnfinished` is due, in the clock's time; undefined while everything is shown. */
  readonly dueAt: number | undefined;
  /** Shows what has no end of line yet, such as a question. What follows on the same line is a line of its own. */
  showUnfinished(): void;
  /** Nothing follows. */
  end(): void;
}

/**
 * Lines of text from the raw output of a program, the same ones however it comes in pieces. A progress bar is its last state, and at most one
 * other a second while it runs; `terminal-text.ts` says what becomes of control characters.
 */
export function createLineSplitter({ emit, now }: { emit: (text: string) => void; now: () => number }): LineSplitter {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const rows = createRedrawnRows({ emit, now });
  let text = '';
  /** The last state that was not blank: programs clear their bars with spaces. */
  let lastState = '';
  let isReturned = false;
  let isRedrawn = false;
  let backspaces = 0;
  /** The state that is shown already. */
  let shown: string | undefined;
  let shownAt = now();
  /** The beginning of the line is shown as a line of its own. */
  let isContinued = false;
  let pushedAt = 0;
  let quietMs = QUIET_MS;

  function beginLine(): void {
    text = '';
    lastState = '';
    isReturned = false;
    isRedrawn = false;
    backspaces = 0;
    shown = undefined;
    shownAt = now();
    isContinued = false;
  }

  function keepState(): void {
    isRedrawn = true;
    const state = text.trimEnd();
    if (state === '') return;
    lastState = state;
    if (now() - shownAt >= REDRAW_MS) showState(state);
  }

  function showState(state: string): void {
    if (state !== shown) emit(state);
    shown = state;
    shownAt = now();
  }

  function endLine(): void {
    const full = isRedrawn ? text.trimEnd() || lastState : text;
    const isShown = shown === full || (isReturned && shown === full.trimEnd()) || (isContinued && full === '');
    if (!isShown) rows.line(full);
    quietMs = QUIET_MS;
    beginLine();
  }

  function add(run: string): void {
    if (isReturned || backspaces > 0) {
      keepState();
      text = isReturned ? '' : withoutLast(text, backspaces);
      isReturned = false;
      backspaces = 0;
    }
    text += run;
    while (text.length > MAX_LINE) {
      const cut = isHighSurrogate(text.charCodeAt(MAX_LINE - 1)) ? MAX_LINE - 1 : MAX_LINE;
      const rest = text.slice(cut);
      rows.line(text.slice(0, cut));
      beginLine();
      text = rest;
      isContinued = true;
    }
  }

  function endUnfinished(): boolean {
    const isOpen = text !== '' || isRedrawn;
    if (isOpen) endLine();
    return isOpen;
  }

  const read = createTerminalReader({
    text: add,
    newline: endLine,
    restart() {
      if (text !== '') isReturned = true;
    },
    backspace() {
      backspaces += 1;
    },
    up(lines) {
      rows.up(endUnfinished() ? lines + 1 : lines);
    },
    down(lines) {
      endUnfinished();
      for (let left = Math.min(lines, 50) - 1; left > 0; left -= 1) rows.line('');
    },
  });

  const isUnfinished = () => text.trim() !== '' && text.trimEnd() !== shown;

  return {
    push(bytes) {
      pushedAt = now();
      read(decoder.decode(bytes, { stream: true }));
    },
    get dueAt() {
      return isUnfinished() || rows.hasUnshown ? pushedAt + quietMs : undefined;
    },
    showUnfinished() {
      rows.show();
      if (!isUnfinished()) return;
      quietMs = Math.min(2 * quietMs, MAX_QUIET_MS);
      if (isRedrawn || isReturned || backspaces > 0) return showState(text.trimEnd());
      emit(text);
      text = '';
      isContinued = true;
    },
    end() {
      read(decoder.decode());
      endUnfinished();
      rows.settle();
    },
  };
}

function withoutLast(text: string, count: number): string {
  let end = text.length;
  for (let left = count; left > 0 && end > 0; left -= 1) {
    end -= end > 1 && isHighSurrogate(text.charCodeAt(end - 2)) ? 2 : 1;
  }
  return text.slice(0, end);
}

const isHighSurrogate = (unit: number) => unit >= 0xd800 && unit <= 0xdbff;
