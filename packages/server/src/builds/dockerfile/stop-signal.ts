import { syntaxError } from './syntax-error.ts';

const NAMES = new Set(
  [
    'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP',
    'TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX',
  ].flatMap((line) => line.split(' ')),
);
const REAL_TIME = /^(?:RTMIN\+([1-9]|1[0-5])|RTMAX-([1-9]|1[0-4]))$/;

/** A number or a name of Linux, as it is written: with SIG or without, in any letters. */
export function stopSignal(text: string, line: number): string {
  const name = text.toUpperCase().replace(/^SIG/, '');
  if (/^[1-9]\d{0,2}$/.test(text) || NAMES.has(name) || REAL_TIME.test(name)) return text;
  throw syntaxError(line, `invalid signal: ${text}`, 'Write for example SIGTERM, SIGRTMIN+3 or 15.');
}
