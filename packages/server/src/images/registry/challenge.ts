/** One way to authenticate that a registry offers (RFC 9110, section 11.6.1). Names are lower case. */
export interface Challenge {
  scheme: string;
  params: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAM = new RegExp(`(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s",]*))`, 'y');
const SCHEME = new RegExp(`(${TOKEN})(?=\\s|,|$)`, 'y');
const GAP = /[\s,]*/y;
const MAX_HEADER = 8192;

/** Reads `WWW-Authenticate`; one header may hold several challenges. What cannot be read ends the list. */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
  if (header === undefined) return [];
  return (Array.isArray(header) ? header : [header]).flatMap((value) => parseHeader(value.slice(0, MAX_HEADER)));
}

function parseHeader(header: string): Challenge[] {
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  let position = 0;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = position;
    const found = pattern.exec(header);
    if (found !== null) position = pattern.lastIndex;
    return found;
  };
  for (;;) {
    match(GAP);
    if (position >= header.length) return challenges;
    const current = challenges.at(-1);
    const param = current === undefined ? null : match(PARAM);
    if (param !== null) {
      const [, name = '', quoted, bare = ''] = param;
      current?.params.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare);
      continue;
    }
    const scheme = match(SCHEME);
    if (scheme === null) return challenges;
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), params: new Map() });
  }
}
