/** Gives out a number of places, by turns between organizations: one with many builds waits behind its own alone. */
export interface Turns {
  /**
   * Resolves with the way to give the place back. `onWait` is told once how many wait before it, when there is none free. Raises the
   * signal's reason.
   */
  take(organizationId: string, signal: AbortSignal, onWait: (before: number) => void): Promise<Turn>;
}

export interface Turn {
  waited: boolean;
  /** Idempotent. */
  giveBack(): void;
}

interface Line {
  taken: number;
  /** When it last got a place, counted in places. */
  served: number;
  waiting: Set<() => void>;
}

export function createTurns(options: { places: number; perOrganization: number }): Turns {
  const { places, perOrganization } = options;
  const lines = new Map<string, Line>();
  let taken = 0;
  let given = 0;

  const hasRoom = (line: Line) => taken < places && line.taken < perOrganization;

  function lineOf(organizationId: string): Line {
    const line = lines.get(organizationId) ?? { taken: 0, served: 0, waiting: new Set() };
    lines.set(organizationId, line);
    return line;
  }

  function occupy(organizationId: string, waited: boolean): Turn {
    const line = lineOf(organizationId);
    taken++;
    line.taken++;
    line.served = ++given;
    let isMine = true;
    return {
      waited,
      giveBack() {
        if (!isMine) return;
        isMine = false;
        taken--;
        line.taken--;
        callNext();
        forget(organizationId, line);
      },
    };
  }

  /** Of those that wait, the organization whose last place is the longest ago. */
  function callNext(): void {
    let line: Line | undefined;
    for (const each of lines.values()) {
      if (each.waiting.size > 0 && hasRoom(each) && each.served < (line?.served ?? Number.POSITIVE_INFINITY))
        line = each;
    }
    const [next] = line?.waiting ?? [];
    if (line === undefined || next === undefined) return;
    line.waiting.delete(next);
    next();
    callNext();
  }

  function forget(organizationId: string, line: Line): void {
    if (line.taken === 0 && line.waiting.size === 0) lines.delete(organizationId);
  }

  return {
    async take(organizationId, signal, onWait) {
      signal.throwIfAborted();
      const line = lineOf(organizationId);
      if (line.waiting.size === 0 && hasRoom(line)) return occupy(organizationId, false);
      onWait(line.waiting.size);
      return new Promise<Turn>((resolve, reject) => {
        const onAbort = () => {
          line.waiting.delete(enter);
          forget(organizationId, line);
          reject(signal.reason);
        };
        const enter = () => {
          signal.removeEventListener('abort', onAbort);
          resolve(occupy(organizationId, true));
        };
        line.waiting.add(enter);
        signal.addEventListener('abort', onAbort, { once: true });
      });
    },
  };
}
