/** Takes one more of what `key` may have. Gives it back by the returned function, once or often; undefined when there is none left. */
export type Take = (key: string) => (() => void) | undefined;

export function counted(limit: number): Take {
  const counts = new Map<string, number>();
  return (key) => {
    const count = counts.get(key) ?? 0;
    if (count >= limit) return undefined;
    counts.set(key, count + 1);
    let isBack = false;
    return () => {
      if (isBack) return;
      isBack = true;
      const left = (counts.get(key) ?? 1) - 1;
      if (left > 0) counts.set(key, left);
      else counts.delete(key);
    };
  };
}
