import type { ExitWatcher } from '../../platform/exit-watcher.ts';

/** Resolves with true when all processes behind the descriptors have ended, with false when the time is over first. Owns them. */
export function allEnded(watcher: ExitWatcher, pidfds: readonly number[], timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    if (pidfds.length === 0) return resolve(true);
    let left = pidfds.length;
    const stops: (() => void)[] = [];
    const timer = setTimeout(
      () => {
        for (const stop of stops) stop();
        resolve(false);
      },
      Math.max(0, timeoutMs),
    );
    for (const pidfd of pidfds) {
      const stop = watcher.watch(pidfd, () => {
        left -= 1;
        if (left > 0) return;
        clearTimeout(timer);
        resolve(true);
      });
      stops.push(stop);
    }
  });
}
