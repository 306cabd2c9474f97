import { z } from 'zod';
import { printable } from './printable.ts';

const record = z.looseObject({
  level: z.string(),
  time: z.string(),
  msg: z.string().optional(),
  err: z.looseObject({ message: z.string().optional(), stack: z.string().optional() }).optional(),
});

const SERIOUS: ReadonlySet<string> = new Set(['error', 'fatal']);

/** A record as a person reads it: `12:03:04.123 WARN  what happened  key=value`; the stack follows where it is serious. */
export function prettyLine(line: string): string {
  const parsed = record.safeParse(JSON.parse(line));
  if (!parsed.success) return line;
  const { level, time, msg = '', err, ...rest } = parsed.data;
  const fields = Object.entries(rest).map(([key, value]) => `${key}=${valueText(value)}`);
  const cause = err?.message !== undefined && !msg.includes(err.message) ? [`(${err.message})`] : [];
  const head = [time.slice(11, 23), level.toUpperCase().padEnd(5), [msg, ...cause, ...fields].join(' ')].join(' ');
  const stack = SERIOUS.has(level) && err?.stack !== undefined ? `\n${indent(err.stack)}` : '';
  return `${printable(head)}${stack.split('\n').map(printable).join('\n')}\n`;
}

function valueText(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"=]+$/.test(value)) return value;
  return JSON.stringify(value);
}

const indent = (text: string) => text.replace(/^/gm, '    ');
