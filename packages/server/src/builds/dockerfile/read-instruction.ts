import { blankSeparated, command, jsonList, nanoseconds, pairs, quotedWords, refuseNul } from './arguments.ts';
import type { EscapeChar } from './directives.ts';
import { FlagReader, splitFlags } from './flags.ts';
import { type Heredoc, heredocMark, joinHeredocWords } from './heredoc.ts';
import type { Add, Arg, Copy, From, Healthcheck, Instruction, Run, Transfer } from './instructions.ts';
import { readMount } from './run-mounts.ts';
import type { Statement } from './statements.ts';
import { syntaxError } from './syntax-error.ts';

const NAMES = [
  'ADD',
  'ARG',
  'CMD',
  'COPY',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'FROM',
  'HEALTHCHECK',
  'LABEL',
  'MAINTAINER',
  'ONBUILD',
  'RUN',
  'SHELL',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
] as const;

interface Input {
  line: number;
  text: string;
  rest: string;
  escapeChar: EscapeChar;
  flags: FlagReader;
  heredocs: Heredoc[];
}

type Reader = (input: Input) => Instruction;

const READERS: Readonly<Record<string, Reader>> = {
  from: readFrom,
  arg: readArg,
  env: ({ line, text, rest, escapeChar }) => ({ kind: 'env', line, text, pairs: pairs(line, 'ENV', rest, escapeChar) }),
  label: ({ line, text, rest, escapeChar }) => ({
    kind: 'label',
    line,
    text,
    pairs: pairs(line, 'LABEL', rest, escapeChar),
  }),
  run: readRun,
  copy: readCopy,
  add: readAdd,
  workdir: (input) => ({ kind: 'workdir', ...place(input), path: one(input, 'WORKDIR') }),
  user: (input) => ({ kind: 'user', ...place(input), user: one(input, 'USER') }),
  shell: readShell,
  entrypoint: (input) => ({ kind: 'entrypoint', ...place(input), command: command(input.rest) }),
  cmd: (input) => ({ kind: 'cmd', ...place(input), command: command(input.rest) }),
  expose: (input) => ({ kind: 'expose', ...place(input), ports: some(input, 'EXPOSE', blankSeparated(input.rest)) }),
  volume: readVolume,
  stopsignal: (input) => ({ kind: 'stopsignal', ...place(input), signal: one(input, 'STOPSIGNAL') }),
  healthcheck: readHealthcheck,
  onbuild: readOnBuild,
  maintainer: (input) => ({ kind: 'maintainer', ...place(input), name: one(input, 'MAINTAINER') }),
};

export function readInstruction(statement: Statement, escapeChar: EscapeChar): Instruction {
  const { line, keyword, heredocs } = statement;
  const read = Object.hasOwn(READERS, keyword) ? READERS[keyword] : undefined;
  if (read === undefined) {
    throw syntaxError(line, `unknown instruction: ${keyword.toUpperCase().slice(0, 40)}`, didYouMean(keyword));
  }
  const { flags, rest } = splitFlags(statement.rest, escapeChar);
  refuseNul(line, jsonList(rest));
  const reader = new FlagReader(line, keyword, flags);
  const text = `${keyword.toUpperCase()} ${statement.rest}`.trim();
  const instruction = read({ line, text, rest, escapeChar, flags: reader, heredocs });
  reader.finish();
  return instruction;
}

const place = ({ line, text }: Input) => ({ line, text });

function one({ line, rest }: Input, keyword: string): string {
  if (rest === '') throw syntaxError(line, `${keyword} requires exactly one argument`);
  return rest;
}

function some({ line }: Input, keyword: string, values: string[]): string[] {
  if (values.length === 0) throw syntaxError(line, `${keyword} requires at least one argument`);
  return values;
}

function readFrom(input: Input): From {
  const { line, rest, flags } = input;
  const platform = flags.text('platform');
  const [image, as, name, ...more] = blankSeparated(rest);
  if (image === undefined)
    throw syntaxError(line, 'FROM requires an image', 'Write FROM image, or FROM image AS name.');
  if (as === undefined) return { kind: 'from', ...place(input), image, platform, name: undefined };
  if (as.toLowerCase() !== 'as' || name === undefined || more.length > 0) {
    throw syntaxError(line, 'FROM requires either one or three arguments', 'Write FROM image, or FROM image AS name.');
  }
  const lower = name.toLowerCase();
  if (!/^[a-z][a-z0-9_.-]*$/.test(lower))
    throw syntaxError(
      line,
      `invalid name for build stage: "${name}"`,
      'A name begins with a letter and has letters, digits, _, - and .',
    );
  return { kind: 'from', ...place(input), image, platform, name: lower };
}

function readArg(input: Input): Arg {
  const { line, rest, escapeChar } = input;
  const words = some(input, 'ARG', quotedWords(rest, escapeChar));
  const args = words.map((word) => {
    const equals = word.indexOf('=');
    if (equals === 0) throw syntaxError(line, 'ARG names can not be blank');
    return equals === -1
      ? { name: word, value: undefined }
      : { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { kind: 'arg', ...place(input), args };
}

function readRun(input: Input): Run {
  const { line, rest, flags, heredocs } = input;
  const mounts = flags.texts('mount').map((value) => readMount(line, value));
  const network = flags.text('network') ?? 'default';
  if (network !== 'default' && network !== 'none') {
    throw syntaxError(line, `RUN --network=${network} is not supported`, 'The networks are default and none.');
  }
  const security = flags.text('security');
  if (security !== undefined && security !== 'sandbox') {
    throw syntaxError(line, `RUN --security=${security} is not supported`, 'Steps run without privileges of the host.');
  }
  return { kind: 'run', ...place(input), command: command(rest), heredocs, mounts, network };
}

function readTransfer(input: Input, keyword: string): Transfer {
  const { line, rest, flags, escapeChar } = input;
  const list = jsonList(rest);
  const words = list ?? joinHeredocWords(blankSeparated(rest));
  const target = words.at(-1);
  if (target === undefined || words.length < 2) {
    throw syntaxError(line, `${keyword} requires at least two arguments`, `Write ${keyword} source… target.`);
  }
  const contents = [...input.heredocs];
  const sources: string[] = [];
  const heredocs: Heredoc[] = [];
  for (const word of words.slice(0, -1)) {
    const content = list === undefined && heredocMark(word, escapeChar) ? contents.shift() : undefined;
    if (content === undefined) sources.push(word);
    else heredocs.push(content);
  }
  return {
    ...place(input),
    sources,
    target,
    heredocs,
    chown: flags.text('chown'),
    chmod: flags.text('chmod'),
    link: flags.bool('link'),
    exclude: flags.texts('exclude'),
  };
}

function readCopy(input: Input): Copy {
  const transfer = readTransfer(input, 'COPY');
  return { kind: 'copy', ...transfer, from: input.flags.text('from'), parents: input.flags.bool('parents') };
}

function readAdd(input: Input): Add {
  const { flags } = input;
  const unpack = flags.text('unpack');
  if (unpack !== undefined && unpack !== 'true' && unpack !== 'false') {
    throw syntaxError(input.line, `the flag --unpack is true or false, not ${unpack}`);
  }
  return {
    kind: 'add',
    ...readTransfer(input, 'ADD'),
    checksum: flags.text('checksum'),
    keepGitDir: flags.bool('keep-git-dir'),
    unpack: unpack === undefined ? undefined : unpack === 'true',
  };
}

function readShell(input: Input): Instruction {
  const argv = jsonList(input.rest);
  if (argv === undefined || argv.length === 0) {
    throw syntaxError(
      input.line,
      'SHELL requires the arguments to be in JSON form',
      'Write SHELL ["/bin/bash", "-c"].',
    );
  }
  return { kind: 'shell', ...place(input), argv };
}

function readVolume(input: Input): Instruction {
  const paths = some(input, 'VOLUME', jsonList(input.rest) ?? blankSeparated(input.rest));
  if (paths.some((path) => path === '')) throw syntaxError(input.line, 'VOLUME specified can not be an empty string');
  return { kind: 'volume', ...place(input), paths };
}

function readHealthcheck(input: Input): Healthcheck {
  const { line, rest, flags } = input;
  const duration = (name: string) => {
    const text = flags.text(name);
    const value = text === undefined ? 0 : nanoseconds(text);
    if (value !== undefined && (value === 0 || value >= 1e6)) return value;
    throw syntaxError(line, `--${name}=${text} is no duration of at least 1ms`, 'Write for example 30s or 1m30s.');
  };
  const times = {
    interval: duration('interval'),
    timeout: duration('timeout'),
    startPeriod: duration('start-period'),
    startInterval: duration('start-interval'),
    retries: retries(line, flags.text('retries')),
  };
  const [, type = '', tail = ''] = /^(\S*)\s*([\s\S]*)$/.exec(rest) ?? [];
  if (type.toUpperCase() === 'NONE') {
    if (tail !== '') throw syntaxError(line, 'HEALTHCHECK NONE takes no arguments');
    return { kind: 'healthcheck', ...place(input), command: undefined, ...times };
  }
  if (type.toUpperCase() !== 'CMD') throw syntaxError(line, `unknown type "${type}" in HEALTHCHECK (try CMD)`);
  if (tail === '') throw syntaxError(line, 'HEALTHCHECK CMD needs a command');
  refuseNul(line, jsonList(tail));
  return { kind: 'healthcheck', ...place(input), command: command(tail), ...times };
}

function retries(line: number, text: string | undefined): number {
  if (text === undefined) return 0;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw syntaxError(line, `--retries must be a number of at least 0, not ${text}`);
}

const NO_TRIGGERS = new Set(['onbuild', 'from', 'maintainer']);

function readOnBuild(input: Input): Instruction {
  const { line, rest, escapeChar, heredocs } = input;
  const [, keyword = '', tail = ''] = /^(\S*)\s*([\s\S]*)$/.exec(rest) ?? [];
  const name = keyword.toLowerCase();
  if (name === '') throw syntaxError(line, 'ONBUILD requires an instruction');
  if (NO_TRIGGERS.has(name)) throw syntaxError(line, `${keyword.toUpperCase()} isn't allowed as an ONBUILD trigger`);
  // What could not be carried out later is refused now.
  readInstruction({ line, endLine: line, keyword: name, rest: tail, heredocs }, escapeChar);
  const contents = heredocs.map(({ content, name: end }) => `\n${content}${end}`).join('');
  return { kind: 'onbuild', ...place(input), trigger: `${keyword} ${tail}${contents}` };
}

function didYouMean(written: string): string {
  // Nobody meant an instruction by a text of any length.
  const keyword = written.slice(0, 40);
  const letters = (word: string) => [...word.toLowerCase()].sort().join('');
  const near =
    NAMES.find((name) => letters(name) === letters(keyword)) ??
    NAMES.find((name) => distance(name.toLowerCase(), keyword) <= 2);
  return near === undefined ? `The instructions are ${NAMES.join(', ')}.` : `Did you mean ${near}?`;
}

function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, swap));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
