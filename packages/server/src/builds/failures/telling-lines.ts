const MAX_LINES = 3;
const MAX_CHARACTERS = 220;
/** Further back the lines are not about the end. */
const LOOKED_AT = 20;
const TELLING = /error|fatal|fail|not found|denied|cannot|can't|could not|unable|no such|invalid|unknown|missing|^E: /i;
/** What programs say at their end whatever happened. */
const NOISE = /^\s*$|\[notice\]|A complete log of this run|npm notice|^WARNING: You are using pip|^note: This /i;

/** The lines that say most about why a command failed: the last ones that sound like it, else the last ones. */
export function tellingLines(lines: readonly string[]): string[] {
  const last = lines.slice(-LOOKED_AT).filter((line) => !NOISE.test(line));
  const telling = last.filter((line) => TELLING.test(line));
  return (telling.length > 0 ? telling : last).slice(-MAX_LINES).map((line) => shortened(line.trim(), MAX_CHARACTERS));
}

export function shortened(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 1).toWellFormed()}…` : text;
}
