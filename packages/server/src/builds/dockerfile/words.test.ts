// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of a Dockerfile
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expandWord, expandWords, WordError } from './words.ts';

const variables: Record<string, string> = {
  HOME: '/home/me',
  EMPTY: '',
  LIST: 'a  b',
  FILE: '/src/a.tar.gz',
  STARS: 'x**y',
};
const options = { escapeChar: '\\', lookup: (name: string) => variables[name] } as const;
const word = (text: string) => expandWord(text, options);
const words = (text: string) => expandWords(text, options);

describe('a word', () => {
  test.each([
    ['plain', 'plain'],
    ["sing'le q'uoted", 'single quoted'],
    ["'$HOME'", '$HOME'],
    ['"$HOME"', '/home/me'],
    ['"a\\tb"', 'a\\tb'],
    ['"a\\"b\\$c\\\\d"', 'a"b$c\\d'],
    ['a\\ b', 'a b'],
    ['\\$HOME', '$HOME'],
    ['\\\\$HOME', '\\/home/me'],
    ['end\\', 'end'],
    ['$HOME.', '/home/me.'],
    ['$.', '$.'],
    ['$1x', 'x'],
    ['$999aaa', 'aaa'],
    ['"\'"', "'"],
    ['한$HOME', '한/home/me'],
  ])('%s is %s', (text, expected) => expect(word(text)).toBe(expected));

  test.each(["it's", '"open', "'open\\", '"open\\"', '${}', '${HOME', '${.}', '${HOME:x}', '${HOME@Q}', '${HOME//x}'])(
    '%s is refused',
    (text) => expect(() => word(text)).toThrow(WordError),
  );
});

describe('operators', () => {
  test.each([
    ['${NONE:-d}', 'd'],
    ['${EMPTY:-d}', 'd'],
    ['${EMPTY-d}', ''],
    ['${NONE-d}', 'd'],
    ['${HOME:-d}', '/home/me'],
    ['${NONE:-${EMPTY:-$HOME}}', '/home/me'],
    ['${HOME:+yes}', 'yes'],
    ['${EMPTY:+yes}', ''],
    ['${EMPTY+yes}', 'yes'],
    ['${NONE+yes}', ''],
    ['${HOME?no}', '/home/me'],
    ['${EMPTY?no}', ''],
    ['${FILE#*/}', 'src/a.tar.gz'],
    ['${FILE##*/}', 'a.tar.gz'],
    ['${FILE%.*}', '/src/a.tar'],
    ['${FILE%%.*}', '/src/a'],
    ['${FILE#nothing}', '/src/a.tar.gz'],
    ['${STARS%%\\**}', 'x'],
    ['${FILE/a/b}', '/src/b.tar.gz'],
    ['${FILE//a/b}', '/src/b.tbr.gz'],
    ['${FILE/t?r/zip}', '/src/a.zip.gz'],
    ['${FILE//\\//_}', '_src_a.tar.gz'],
  ])('%s is %s', (text, expected) => expect(word(text)).toBe(expected));

  test('that find something missing say so, in the words of the file', () => {
    expect(() => word('${NONE:?set it}')).toThrow('NONE: set it');
    expect(() => word('${EMPTY:?}')).toThrow('EMPTY: is not allowed to be unset');
  });
});

describe('words', () => {
  test.each([
    ['hello there', ['hello', 'there']],
    ['hello\\ there', ['hello there']],
    ['"hello there"', ['hello there']],
    ['$LIST', ['a', 'b']],
    ['"$LIST"', ['a  b']],
    ['x$LIST', ['xa', 'b']],
    ['$NONE', []],
    ['"" x', ['', 'x']],
    ['  ', []],
  ])('%s are %j', (text, expected) => expect(words(text)).toEqual(expected));
});

test('the other escape character leaves backslashes alone', () => {
  expect(expandWord('C:\\dir`$x', { escapeChar: '`', lookup: () => 'v' })).toBe('C:\\dir$x');
});

test('variables that are not set can stay as they are written', () => {
  expect(expandWord('$NONE ${NONE} ${NONE#x}', { ...options, keepUnset: true })).toBe('$NONE ${NONE} ${NONE#x}');
});

test('any text is a word or is refused, and single quotes keep everything', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (text) => {
      try {
        word(text);
      } catch (error) {
        expect(error).toBeInstanceOf(WordError);
      }
      const quoted = text.replaceAll("'", '');
      expect(word(`'${quoted}'`)).toBe(quoted);
    }),
  );
});

test('shell characters in any nesting end in bounded time', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('$', '{', '}', ':', '-', '*', '/', '#', '%', 'a', '"', '\\'), maxLength: 80 }),
      (text) => {
        try {
          words(text);
        } catch (error) {
          expect(error).toBeInstanceOf(WordError);
        }
      },
    ),
  );
});
