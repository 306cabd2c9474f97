/** How much of the server one sandbox may use for its names. */
export interface Budget {
  /** Whether one more may be begun now; whoever got a yes calls `end` once. */
  begin(): boolean;
  end(): void;
}

export interface BudgetOptions {
  perSecond: number;
  /** At once, after a quiet time. */
  burst: number;
  atOnce: number;
  now?: () => number;
}

export function createBudget({ perSecond, burst, atOnce, now = Date.now }: BudgetOptions): Budget {
  let left = burst;
  let countedAt = now();
  let running = 0;
  return {
    begin() {
      const time = now();
      left = Math.min(burst, left + (Math.max(0, time - countedAt) / 1000) * perSecond);
      countedAt = time;
      if (running >= atOnce || left < 1) return false;
      left -= 1;
      running += 1;
      return true;
    },
    end() {
      running -= 1;
    },
  };
}
