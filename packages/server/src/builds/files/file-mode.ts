import { invalidRequest } from '../../platform/errors.ts';

/** What `--chmod` makes of a mode. */
export interface ModeChange {
  /** An octal mode also holds for directories that are made on the way. */
  absolute: number | undefined;
  apply(mode: number, isDirectory: boolean): number;
}

type Bits = (mode: number, isDirectory: boolean, before: number) => number;

const ALL = 0o7777;
const STICKY = 0o1000;
/** The bits that each letter stands for, with the one that `s` means for it. */
const WHO: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o0007, a: 0o6777 };

/** Octal, or symbolic as chmod(1) has it: `u=rwX,go=rX`, `+x`, `g=u-w`. */
export function readModeChange(text: string): ModeChange {
  if (/^[0-7]+$/.test(text) && Number.parseInt(text, 8) <= ALL) {
    const mode = Number.parseInt(text, 8);
    return { absolute: mode, apply: () => mode };
  }
  if (text === '' || /^[0-9]/.test(text)) throw bad(text);
  const steps = text.split(',').flatMap((clause) => clauseOf(clause, text));
  return {
    absolute: undefined,
    apply: (before, isDirectory) => steps.reduce((mode, step) => step(mode, isDirectory, before), before),
  };
}

function clauseOf(clause: string, text: string): Bits[] {
  const [, letters = '', actions = ''] = /^([ugoa]*)((?:[-+=][rwxXstugo]*)+)$/.exec(clause) ?? [];
  if (actions === '') throw bad(text);
  const who = letters === '' ? 0o6777 : [...letters].reduce((bits, letter) => bits | (WHO[letter] ?? 0), 0);
  const onlyOthers = letters !== '' && /^o+$/.test(letters);
  return [...actions.matchAll(/([-+=])([rwxXstugo]*)/g)].map(([, operator = '', permissions = '']) =>
    actionOf(operator, permissions, who, onlyOthers),
  );
}

function actionOf(operator: string, permissions: string, who: number, onlyOthers: boolean): Bits {
  const reach = who | (permissions.includes('t') && !onlyOthers ? STICKY : 0);
  return (mode, isDirectory, before) => {
    let bits = 0;
    for (const letter of permissions) bits |= bitsOf(letter, mode, isDirectory, before, onlyOthers, operator);
    bits &= reach;
    if (operator === '+') return mode | bits;
    return operator === '-' ? mode & ~bits : (mode & ~reach) | bits;
  };
}

function bitsOf(
  letter: string,
  mode: number,
  isDirectory: boolean,
  before: number,
  onlyOthers: boolean,
  operator: string,
): number {
  const copied = (shift: number) => ((mode >> shift) & 7) * 0o111;
  switch (letter) {
    case 'r':
      return 0o444;
    case 'w':
      return 0o222;
    case 'x':
      return 0o111;
    case 'X':
      return operator === '-' || isDirectory || (before & 0o111) !== 0 ? 0o111 : 0;
    case 's':
      return onlyOthers ? 0 : 0o6000;
    case 't':
      return onlyOthers ? 0 : STICKY;
    case 'u':
      return copied(6);
    case 'g':
      return copied(3);
    default:
      return copied(0);
  }
}

const bad = (text: string) =>
  invalidRequest(`--chmod=${text.slice(0, 100)} is no mode`, {
    hint: 'Write octal digits up to 7777, or changes as chmod has them: u=rwX,go=rX.',
  });
