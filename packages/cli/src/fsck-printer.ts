import type { FsckLineDto } from '@darkroom/contract';
import { printable } from '@darkroom/server/machine';
import { hasColor } from './doctor.ts';

export interface FsckPrinter {
  print(line: FsckLineDto): void;
  /** Takes a line of progress away that still stands there. */
  close(): void;
}

interface PrinterOptions {
  json: boolean;
  repair: boolean;
  out?: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>;
  /** Where progress is shown, when that is a terminal. */
  progress?: Pick<NodeJS.WriteStream, 'write' | 'isTTY'>;
  color?: boolean;
}

type Found = Extract<FsckLineDto, { type: 'finding' }>;
type End = Extract<FsckLineDto, { type: 'end' }>;

const CLEAR_LINE = '\r\x1b[K';
const COLORS = { found: 33, repaired: 32, failed: 31 } as const;

/** For people a paragraph for each finding, as it is found; with `json` the lines of the answer, without progress. */
export function createFsckPrinter(options: PrinterOptions): FsckPrinter {
  const { json, repair, out = process.stdout, progress = process.stderr, color = hasColor() } = options;
  let shown = false;
  const clear = () => {
    if (shown) progress.write(CLEAR_LINE);
    shown = false;
  };
  const write = (text: string) => {
    clear();
    out.write(`${text}\n`);
  };
  return {
    print(line) {
      if (line.type === 'progress') {
        if (progress.isTTY !== true) return;
        const count = line.total > 0 ? ` ${line.done} of ${line.total}` : '';
        progress.write(`${CLEAR_LINE}looking at ${line.title}${count} …`);
        shown = true;
      } else if (json) write(JSON.stringify(line));
      else if (line.type === 'finding') write(renderFinding(line, { repair, color }));
      else if (line.type === 'end') write(renderEnd(line, { repair }));
    },
    close: clear,
  };
}

/** What it is and where, why, and what is done about it. */
export function renderFinding(
  { kind, id, where, problem, repair: does, outcome, note }: Found,
  { repair, color }: { repair: boolean; color: boolean },
): string {
  const mark = color ? `\x1b[${COLORS[outcome]}m${outcome}\x1b[0m` : outcome;
  const action = does === null ? 'no repair: see above' : repair ? `repair: ${does}` : `--repair would: ${does}`;
  const done = note === null ? '' : ` (${note})`;
  const lines = [`${kind} ${id}`, `  where  ${where}`, `  why    ${problem}`, `  ${action}${done}`];
  return `${mark} ${lines.map(printable).join('\n')}`;
}

export function renderEnd({ findings, repaired, left, seconds }: End, { repair }: { repair: boolean }): string {
  const time = `looked for ${seconds.toFixed(1)} s`;
  if (findings === 0) return `Nothing is wrong; ${time}.`;
  if (!repair) return `${findings} found; ${time}. --repair puts right what says so.`;
  return `${findings} found, ${repaired} repaired, ${left} left; ${time}.`;
}
