/**
 * Whether one of many may take one more of what all share: nobody has more than three times what is left. So one alone has up to
 * three quarters, many have the same, and whoever comes last still finds something.
 */
export function hasShare({ own, taken, all }: { own: number; taken: number; all: number }): boolean {
  return own < 3 * (all - taken);
}
