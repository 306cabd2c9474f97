/** Things that must stay for as long as anybody works with them. */
export interface Hold {
  /** What is to be done when nobody does any more; the last added comes first. */
  add(release: () => Promise<void> | void): void;
  /** One more works with them. The result lets go, and resolves when what that released is gone. Idempotent. */
  retain(): () => Promise<void>;
}

/** Its maker holds it with the first `retain`. */
export function createHold(onError: (error: unknown) => void): Hold {
  const releases: (() => Promise<void> | void)[] = [];
  let holders = 0;
  return {
    add: (release) => void releases.push(release),
    retain() {
      holders += 1;
      let held = true;
      return async () => {
        if (!held) return;
        held = false;
        holders -= 1;
        if (holders > 0) return;
        for (const release of releases.splice(0).reverse()) {
          try {
            await release();
          } catch (error) {
            // The others must go all the same.
            onError(error);
          }
        }
      };
    },
  };
}
