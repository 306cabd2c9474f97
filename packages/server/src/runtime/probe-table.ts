import { styleText } from 'node:util';

export interface ProbeRow {
  name: string;
  /** `warn` works, or works less well; with a `fail` the server does not start. */
  status: 'ok' | 'warn' | 'fail';
  found: string;
  /** What to do about it. */
  advice?: string;
}

const STATUS = {
  ok: { mark: 'ok', color: 'green' },
  warn: { mark: 'warn', color: 'yellow' },
  fail: { mark: 'FAIL', color: 'red' },
} as const;

export function hasFailure(rows: readonly ProbeRow[]): boolean {
  return rows.some(({ status }) => status === 'fail');
}

/** One aligned table, advice under the row it belongs to. */
export function renderProbe(rows: readonly ProbeRow[], options: { color: boolean }): string {
  const width = Math.max(0, ...rows.map(({ name }) => name.length));
  return rows.flatMap((row) => renderRow(row, width, options.color)).join('\n');
}

function renderRow({ name, status, found, advice }: ProbeRow, width: number, color: boolean): string[] {
  const { mark, color: name_color } = STATUS[status];
  const label = mark.padEnd(4);
  const styled = color ? styleText(name_color, label, { validateStream: false }) : label;
  const line = `  ${styled}  ${name.padEnd(width)}  ${oneLine(found)}`.trimEnd();
  return advice === undefined ? [line] : [line, `${' '.repeat(width + 10)}→ ${oneLine(advice)}`];
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, '; ');
}
