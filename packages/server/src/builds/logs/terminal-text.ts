/** What a text for a terminal does to the lines on it, as far as a log can show it. */
export interface TerminalHandler {
  /** Without control characters. */
  text(run: string): void;
  newline(): void;
  /** Back to the beginning of the line, or the line was erased: what comes next takes its place. */
  restart(): void;
  backspace(): void;
  up(lines: number): void;
  down(lines: number): void;
}

/** C0 but the tab, DEL, C1; separators and marks of direction, which would show a line as another one than it is. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const SPECIAL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;
const ESCAPE = '\u001b';
const MAX_PARAMETERS = 64;
/** Of titles and links; one that does not end is not waited for. */
const MAX_STRING = 4096;

type State = 'text' | 'escape' | 'csi' | 'string' | 'string-escape';

/**
 * Reads terminal text in any pieces. Colours and other attributes are left out, titles too; the text of links stays. Other control
 * characters vanish, except that vertical movements and separators of lines that a log cannot have become a space.
 */
export function createTerminalReader(handler: TerminalHandler): (text: string) => void {
  let state: State = 'text';
  let parameters = '';
  let skipped = 0;

  /** Whether the character belongs to a sequence. */
  function inSequence(character: string): boolean {
    switch (state) {
      case 'text':
        return false;
      case 'escape':
        return afterEscape(character);
      case 'csi':
        return inCsi(character);
      case 'string-escape':
        state = 'text';
        if (character === '\\') return true;
        state = 'escape';
        return afterEscape(character);
      case 'string':
        skipped += 1;
        if (character === '\u0007' || character === '\u009c') state = 'text';
        else if (character === ESCAPE) state = 'string-escape';
        else if (character === '\n' || skipped > MAX_STRING) {
          state = 'text';
          return false;
        }
        return true;
    }
  }

  function afterEscape(character: string): boolean {
    if (character >= ' ' && character <= '/') return true;
    state = 'text';
    if (character === '[') {
      state = 'csi';
      parameters = '';
    } else if (character !== '' && ']PX^_'.includes(character)) {
      state = 'string';
      skipped = 0;
    } else if (character === 'E') handler.newline();
    else if (character === 'M') handler.up(1);
    else if (character === 'c') handler.restart();
    return character >= '0' && character <= '~';
  }

  function inCsi(character: string): boolean {
    if (character >= ' ' && character <= '?' && parameters.length < MAX_PARAMETERS) {
      parameters += character;
      return true;
    }
    state = 'text';
    if (character < '@' || character > '~') return false;
    control(character);
    return true;
  }

  function control(final: string): void {
    const count = Number.parseInt(parameters, 10);
    const lines = Number.isSafeInteger(count) && count > 0 ? count : 1;
    if (final === 'A' || final === 'F') handler.up(lines);
    else if (final === 'B' || final === 'E') handler.down(lines);
    else if (final === 'C') handler.text(' '.repeat(Math.min(lines, 80)));
    else if (final === 'G' || final === '`' || final === 'H' || final === 'f') {
      if (lines === 1) handler.restart();
      else handler.text(' ');
    } else if (final === 'K' && count > 0) handler.restart();
    else if (final === 'D') for (let left = Math.min(lines, 1_000); left > 0; left -= 1) handler.backspace();
  }

  function single(character: string): void {
    if (character === '\n') handler.newline();
    else if (character === '\r') handler.restart();
    else if (character === '\b') handler.backspace();
    else if (character === ESCAPE) state = 'escape';
    else if ('\v\f\u2028\u2029'.includes(character)) handler.text(' ');
  }

  return (text) => {
    for (let at = 0; at < text.length; ) {
      const character = text.charAt(at);
      if (state !== 'text') {
        if (inSequence(character)) {
          at += 1;
          continue;
        }
        state = 'text';
      }
      SPECIAL.lastIndex = at;
      const found = SPECIAL.exec(text);
      const end = found?.index ?? text.length;
      if (end > at) handler.text(text.slice(at, end));
      if (found !== null) single(found[0]);
      at = end + 1;
    }
  };
}
