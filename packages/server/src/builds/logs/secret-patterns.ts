/** Shorter values, and shorter lines of values, are not looked for: they stand in every other word. */
export const MIN_SECRET_BYTES = 4;
/** Longer ones are looked for in parts, so that little has to be held back. */
const MAX_PATTERN_BYTES = 4096;
/** How `base64`, PEM and MIME break their lines. */
const BASE64_WIDTHS = [64, 76];
const MIN_BASE64 = 8;

/** All texts that give a secret away: itself, its lines, and what common encodings make of it, also in the middle of other data. */
export function secretPatterns(values: Iterable<string>): Buffer[] {
  const texts = new Set<string>();
  for (const value of values) for (const form of formsOf(value)) texts.add(form);
  return [...texts].flatMap((text) => parts(Buffer.from(text))).filter(({ length }) => length >= MIN_SECRET_BYTES);
}

function* formsOf(value: string): Generator<string> {
  const trimmed = value.trim();
  if (Buffer.byteLength(trimmed) < MIN_SECRET_BYTES) return;
  yield trimmed;
  for (const line of trimmed.split(/\r\n|\r|\n/)) yield line.trim();
  if (trimmed.includes('\n')) yield trimmed.replace(/\r?\n/g, '\r\n');
  yield JSON.stringify(trimmed).slice(1, -1);
  yield encodeURIComponent(trimmed.toWellFormed());
  const encoded = urlEncoded(trimmed);
  yield encoded;
  yield encoded.replace(/%20/g, '+');
  yield encoded.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  for (const whole of new Set([value, trimmed])) yield* base64Forms(whole);
}

function urlEncoded(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** What surely stands in the encoding of any data that the value is in, at each of the three places within a group. */
function* base64Forms(value: string): Generator<string> {
  const bytes = Buffer.from(value);
  for (const before of [0, 1, 2]) {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const isWhole = (before + bytes.length) % 3 === 0;
    const toEnd = encoded.slice(before === 0 ? 0 : before + 1);
    const sure = toEnd.slice(0, isWhole ? undefined : -1);
    if (sure.length < MIN_BASE64) continue;
    for (const form of [sure, toEnd]) {
      yield form;
      yield form.replace(/\+/g, '-').replace(/\//g, '_');
    }
    if (before > 0) continue;
    for (const width of BASE64_WIDTHS) {
      for (let at = 0; sure.length > width && at < sure.length; at += width) {
        const line = sure.slice(at, at + width);
        if (line.length >= MIN_BASE64) yield line;
      }
    }
  }
}

function parts(pattern: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < pattern.length; at += MAX_PATTERN_BYTES) {
    found.push(pattern.subarray(at, at + MAX_PATTERN_BYTES));
  }
  return found;
}
