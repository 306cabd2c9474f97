/** Where the text is, from a position on; -1 where it is not. */
export type FindBytes = (bytes: Buffer, from?: number) => number;

/** What Node's own search takes at worst, its length times the text's, is nothing below this. */
const MAX_SHORT = 128;

/**
 * Looks for one text in many. Takes no longer than what is looked through, whatever both are (Knuth, Morris, Pratt): Node's own
 * search takes seconds for a few hundred kilobytes that were made for it, in which the server would do nothing else.
 */
export function findBytes(text: Buffer): FindBytes {
  if (text.length <= MAX_SHORT) return (bytes, from = 0) => bytes.indexOf(text, from);
  const borders = bordersOf(text);
  return (bytes, from = 0) => {
    let matched = 0;
    for (let at = from; at < bytes.length; at += 1) {
      const byte = bytes[at];
      while (matched > 0 && byte !== text[matched]) matched = borders[matched - 1] ?? 0;
      if (byte === text[matched]) matched += 1;
      if (matched === text.length) return at - matched + 1;
    }
    return -1;
  };
}

/** Of each beginning of the text: how long its longest border is, an end that is a beginning, too. */
function bordersOf(text: Buffer): Uint32Array {
  const borders = new Uint32Array(text.length);
  let border = 0;
  for (let at = 1; at < text.length; at += 1) {
    while (border > 0 && text[at] !== text[border]) border = borders[border - 1] ?? 0;
    if (text[at] === text[border]) border += 1;
    borders[at] = border;
  }
  return borders;
}
