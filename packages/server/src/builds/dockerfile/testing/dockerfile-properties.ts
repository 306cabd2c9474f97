// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of a Dockerfile
import { deepStrictEqual } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Property } from '../../../test-support/property.ts';
import { parseDockerfile } from '../parse.ts';
import { lineCount, readWhole } from './read-whole.ts';

const PIECES = [
  ...'FROM,RUN,COPY,ADD,ENV,ARG,LABEL,CMD,ENTRYPOINT,SHELL,USER,WORKDIR,EXPOSE,VOLUME,HEALTHCHECK,ONBUILD'.split(','),
  ...'STOPSIGNAL,MAINTAINER,NONE,AS,scratch,x,a=b,/a,--from=x,--mount=,type=cache,target=/a,--chown=,--link'.split(','),
  ...['--network=none', '--platform=', '--exclude=*', '--parents', '--keep-git-dir', '--checksum=', '--interval=1s'],
  ...['"', "'", '\\', '`', '$', '${', '}', ':-', ':+', ':?', '##', '%%', '//', '/', '*', '?', '[', ']', '{', ','],
  ...['\n', '\n', '\n', '\r\n', '\\\n', '`\n', ' ', ' ', ' ', '\t', '#', '# escape=`\n', '# syntax=x\n', '\n# c\n'],
  ...[
    '<<E',
    '<<-E',
    "<<'E'",
    '<<"E" ',
    '<< E',
    '3<<E',
    '\nE\n',
    'E',
    '["a","b"]',
    '["',
    '"]',
    '1-3/tcp',
    '80',
    '\uFEFF',
  ],
  ...['\0', '\u00a0', '\u2028', '😀', '\ud800', 'https://h/x.git#a:b', 'git@h:a', '__proto__', 'constructor', '𝒳'],
];

const soup = fc.array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 6 })), { maxLength: 60 });
const soupText = soup.map((pieces) => pieces.join(''));
const behindFrom = fc.array(soupText, { maxLength: 6 }).map((parts) => `FROM x\n${parts.join('\n')}`);

const plain = fc.stringMatching(/^[a-z][a-z0-9_.]{0,11}$/);
const argv = fc.array(
  fc.string({ unit: 'grapheme', maxLength: 10 }).filter((text) => !text.includes('\0')),
  {
    minLength: 1,
    maxLength: 4,
  },
);
/** Any text without what ends a line, in double quotes as ENV has them. */
const value = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => !/[\0\r\n\u2028\u2029]/.test(text));
const quoted = (text: string) => `"${text.replace(/["$\\]/g, '\\$&')}"`;
const heredocLine = fc.string({ maxLength: 12 }).filter((text) => !/[\0\n]/.test(text) && text !== 'EOF');

interface Written {
  text: string;
  expected: object;
}

const instruction: fc.Arbitrary<Written> = fc.oneof(
  argv.map((list) => ({
    text: `RUN ${oneLine(list)}`,
    expected: { kind: 'run', command: { form: 'exec', argv: list } },
  })),
  fc.tuple(argv, argv).map(([list]) => ({
    text: `CMD ${oneLine(list)}`,
    expected: { kind: 'cmd', command: { form: 'exec', argv: list } },
  })),
  fc.tuple(plain, value).map(([name, text]) => ({
    text: `ENV ${name}=${quoted(text)}`,
    expected: { kind: 'env', pairs: [{ name, value: quoted(text) }] },
  })),
  fc.tuple(plain, plain, fc.boolean()).map(([source, target, link]) => ({
    text: `COPY ${link ? '--link ' : ''}--chown=1:2 ${source} /${target}`,
    expected: { kind: 'copy', sources: [source], target: `/${target}`, link, chown: '1:2' },
  })),
  fc.array(heredocLine, { maxLength: 4 }).map((lines) => ({
    text: `COPY <<'EOF' /x\n${lines.map((line) => `${line}\n`).join('')}EOF`,
    expected: { kind: 'copy', heredocs: [{ content: lines.map((line) => `${line}\n`).join(''), expand: false }] },
  })),
  fc.tuple(plain, fc.nat(64)).map(([target, size]) => ({
    text: `RUN --mount=type=tmpfs,target=/${target},size=${size}m \\\n  # a comment\n\n  make`,
    expected: { kind: 'run', mounts: [{ type: 'tmpfs', target: `/${target}`, sizeBytes: size * 2 ** 20 }] },
  })),
  plain.map((name) => ({
    text: `onbuild  Run echo ${name}`,
    expected: { kind: 'onbuild', trigger: `Run echo ${name}` },
  })),
);

function oneLine(list: readonly string[]): string {
  return JSON.stringify(list).replace(/[\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16)}`);
}

const CORPUS = join(import.meta.dirname, '../../corpus/cases');

function corpusTexts(): string[] {
  return readdirSync(CORPUS).flatMap((name) => readFileSync(join(CORPUS, name), 'utf8').split(/\n(?===)/));
}

/** A text of the corpus in which pieces were taken out, doubled, or put in. */
function mutated(): fc.Arbitrary<string> {
  const change = fc.tuple(fc.nat(), fc.nat(40), fc.oneof(fc.constantFrom(...PIECES), fc.constant('')), fc.boolean());
  return fc.tuple(fc.constantFrom(...corpusTexts()), fc.array(change, { maxLength: 8 })).map(([text, changes]) => {
    const [, body = text] = /^(?:==.*\n)?([\s\S]*)$/.exec(text) ?? [];
    return changes.reduce((current, [at, length, piece, twice]) => {
      const from = current.length === 0 ? 0 : at % current.length;
      const taken = current.slice(from, from + length);
      return current.slice(0, from) + (twice ? taken + taken : '') + piece + current.slice(from + length);
    }, body);
  });
}

/** What holds for every text; CI runs some cases of each, `npm run fuzz` as many as there is time for. */
export function dockerfileProperties(): Property[] {
  const readable = (text: string) => {
    const read = readWhole(text);
    if (read === undefined) return;
    // A trigger that was taken can be read when its time comes.
    if (read.dockerfile.directives.escapeChar !== '\\') return;
    for (const trigger of read.last?.onbuild ?? []) parseDockerfile(`FROM x\n${trigger}\n`);
  };
  return [
    { name: 'any text', runs: 300, check: fc.property(fc.string({ unit: 'binary', maxLength: 200 }), readable) },
    { name: 'a soup of pieces', runs: 700, check: fc.property(soupText, readable) },
    { name: 'a soup behind FROM', runs: 700, check: fc.property(behindFrom, readable) },
    { name: 'mutated corpus', runs: 700, check: fc.property(mutated(), readable) },
    {
      name: 'what is written is read',
      runs: 300,
      check: fc.property(fc.array(instruction, { minLength: 1, maxLength: 6 }), (written) => {
        const text = `FROM x\n${written.map((each) => each.text).join('\n')}\n`;
        const [stage] = parseDockerfile(text).stages;
        let line = 2;
        for (const [index, { expected, text: own }] of written.entries()) {
          const found = stage.instructions[index];
          deepStrictEqual({ ...found, ...expected }, mergedWith(found, expected), own);
          deepStrictEqual(found?.line, line);
          line += lineCount(own);
        }
        deepStrictEqual(stage.instructions.length, written.length);
        if (readWhole(text) === undefined) throw new Error('it was refused');
      }),
    },
  ];
}

/** `found` with all that `expected` says compared by itself: lists of objects by their named fields. */
function mergedWith(found: object | undefined, expected: object): object {
  const picked: Record<string, unknown> = { ...found };
  for (const [key, wanted] of Object.entries(expected)) {
    const actual: unknown = picked[key];
    if (!Array.isArray(wanted) || !Array.isArray(actual)) continue;
    picked[key] = actual.map((item: unknown, index) => {
      const shape: unknown = wanted[index];
      if (typeof shape !== 'object' || shape === null || typeof item !== 'object' || item === null) return item;
      return Object.fromEntries(Object.entries(item).filter(([name]) => name in shape));
    });
  }
  return picked;
}
