/** More rows than that are no display of progress. */
const MAX_ROWS = 50;
/** The same rows are shown again at most this often. */
const INTERVAL_MS = 1_000;

/**
 * Lines that a program goes back up to and writes again: progress of several things at once. Ordinary lines pass through at once; rows that are
 * drawn again are shown when they have changed, now and then and in the end.
 */
export function createRedrawnRows({ emit, now }: { emit: (text: string) => void; now: () => number }) {
  const recent: string[] = [];
  let rows: string[] | undefined;
  let shown: string[] = [];
  let row = 0;
  let shownAt = 0;

  const show = () => {
    rows?.forEach((text, index) => {
      if (text !== shown[index] && text !== '') emit(text);
    });
    shown = [...(rows ?? [])];
    shownAt = now();
  };

  const pass = (text: string) => {
    recent.push(text);
    if (recent.length > MAX_ROWS) recent.shift();
    emit(text);
  };

  const settle = () => {
    show();
    rows = undefined;
    shown = [];
    recent.length = 0;
  };

  return {
    line(text: string): void {
      if (rows === undefined) {
        pass(text);
        return;
      }
      // A line feed alone moves down over a row that stays.
      if (text !== '' || row >= rows.length) rows[row] = text;
      row += 1;
      if (row > MAX_ROWS) settle();
      else if (now() - shownAt >= INTERVAL_MS) show();
    },
    up(count: number): void {
      if (rows === undefined) {
        rows = recent.slice(-Math.min(count, MAX_ROWS));
        shown = [...rows];
        row = rows.length;
        shownAt = now();
      }
      row = Math.max(0, row - count);
    },
    get hasUnshown(): boolean {
      return rows?.some((text, index) => text !== shown[index] && text !== '') ?? false;
    },
    show,
    settle,
  };
}
