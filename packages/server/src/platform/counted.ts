import { hasShare } from './fair-share.ts';

/** Takes one more of what `key` may have. Gives it back by the returned function, once or often; undefined when there is none left. */
export type Take = (key: string) => (() => void) | undefined;

/** Each has as many as this. */
export const counted = (limit: number): Take => countedWhile(({ own }) => own < limit);

/** All have as many as this together, and each leaves some to others. */
export const shared = (all: number): Take => countedWhile((counts) => hasShare({ ...counts, all }));

function countedWhile(mayTake: (counts: { own: number; taken: number }) => boolean): Take {
  const counts = new Map<string, number>();
  let taken = 0;
  return (key) => {
    const own = counts.get(key) ?? 0;
    if (!mayTake({ own, taken })) return undefined;
    counts.set(key, own + 1);
    taken += 1;
    let isBack = false;
    return () => {
      if (isBack) return;
      isBack = true;
      taken -= 1;
      const left = (counts.get(key) ?? 1) - 1;
      if (left > 0) counts.set(key, left);
      else counts.delete(key);
    };
  };
}
