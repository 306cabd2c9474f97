/**
 * Whether parsed JSON has more than `max` members and elements at all depths together. A schema may have something to say
 * about each of them, which takes many times the memory of the value itself.
 */
export function hasMoreValuesThan(max: number, json: unknown): boolean {
  const open: unknown[] = [json];
  let count = 0;
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value !== 'object' || value === null) continue;
    const inner = Array.isArray(value) ? value : Object.values(value);
    count += inner.length;
    if (count > max) return true;
    for (const part of inner) if (typeof part === 'object' && part !== null) open.push(part);
  }
  return false;
}
