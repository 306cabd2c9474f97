type Fingerprints = Readonly<Record<string, string>>;

const MANY = 3;

/**
 * Why a step that was not recorded runs, in words: what differs from the most similar of the steps that were recorded with the same
 * text. They are given newest first.
 */
export function whatChanged(now: Fingerprints, before: readonly Fingerprints[]): string {
  const differences = before.map((earlier) => differingParts(now, earlier));
  const [first] = differences;
  if (first === undefined) return 'first time';
  const nearest = differences.reduce((best, next) => (next.length < best.length ? next : best), first);
  return nearest.length === 0 ? 'its last result was removed' : `${enumerate(nearest)} changed`;
}

function differingParts(now: Fingerprints, before: Fingerprints): string[] {
  const names = new Set([...Object.keys(now), ...Object.keys(before)]);
  return [...names].filter((name) => now[name] !== before[name]);
}

function enumerate(names: readonly string[]): string {
  if (names.length > MANY) return `${names.slice(0, MANY).join(', ')} and more`;
  const [last = '', ...others] = names.toReversed();
  return others.length === 0 ? last : `${others.toReversed().join(', ')} and ${last}`;
}

export function olderThan(seconds: number): string {
  const [count, unit] = seconds < 120 ? [seconds, 'second'] : [Math.round(seconds / 60), 'minute'];
  return `older than ${count} ${unit}${count === 1 ? '' : 's'}`;
}
