import { expect, test } from 'vitest';
import { type Marker, MarkerScanner, type Scanned } from './marker-scanner.ts';

const TOKEN = '0123456789abcdef0123456789abcdef';
const marker = (name: number | 'end', status: number) => Buffer.from(`\x1e${TOKEN} ${name} ${status}\n`);

function scan(chunks: readonly Buffer[]): Scanned[] {
  const scanner = new MarkerScanner(TOKEN);
  const found = chunks.flatMap((chunk) => scanner.push(chunk));
  const rest = scanner.end();
  return rest.length > 0 ? [...found, { data: rest }] : found;
}

/** Neighbouring pieces of data joined. */
function joined(found: readonly Scanned[]): (string | Marker)[] {
  const result: (string | Marker)[] = [];
  for (const item of found) {
    const text = 'data' in item ? item.data.toString('latin1') : undefined;
    const last = result.at(-1);
    if (text === undefined) result.push('marker' in item ? item.marker : { name: 0, status: 0 });
    else if (typeof last === 'string') result[result.length - 1] = last + text;
    else result.push(text);
  }
  return result;
}

/** A small generator of numbers that comes again with its seed (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

/** What is most like a marker without being one. */
const NEARLY = [
  '\x1e',
  `\x1e${TOKEN.slice(0, 10)}`,
  `\x1e${TOKEN}`,
  `\x1e${TOKEN} `,
  `\x1e${TOKEN} x`,
  `\x1e${TOKEN} 1`,
  `\x1e${TOKEN} 1 2`,
  `\x1e${TOKEN} 1 x\n`,
  `\x1e${TOKEN} 1 1234\n`,
  `\x1e${TOKEN} 12345678901 1\n`,
  `\x1e${TOKEN} end\n`,
  `\x1e\x1e${TOKEN}\n`,
  '\n',
  ' 7\n',
].map((text) => Buffer.from(text));

test.each(Array.from({ length: 300 }, (_, seed) => seed))(
  'wild bytes come out as they went in, cut anywhere, markers apart (%i)',
  (seed) => {
    const random = randomFrom(seed);
    const expected: (string | Marker)[] = [];
    const input: Buffer[] = [];
    const data = (bytes: Buffer) => {
      input.push(bytes);
      const last = expected.at(-1);
      if (typeof last === 'string') expected[expected.length - 1] = last + bytes.toString('latin1');
      else if (bytes.length > 0) expected.push(bytes.toString('latin1'));
    };
    for (let part = 0; part < 1 + random(12); part += 1) {
      const kind = random(3);
      if (kind === 0) data(Buffer.from(Array.from({ length: random(40) }, () => random(256))));
      else if (kind === 1) data(NEARLY[random(NEARLY.length)] ?? Buffer.alloc(0));
      // In front of a marker, so that what is nearly one does not become one by it.
      data(Buffer.from('|'));
      if (kind === 2) {
        const name = random(4) === 0 ? 'end' : random(1_000_000);
        const status = random(256);
        input.push(marker(name, status));
        expected.push({ name, status });
      }
    }
    const whole = Buffer.concat(input);
    const chunks: Buffer[] = [];
    for (let at = 0; at < whole.length; ) {
      const size = 1 + random(seed % 3 === 0 ? 3 : 60);
      chunks.push(whole.subarray(at, at + size));
      at += size;
    }
    expect(joined(scan(chunks))).toEqual(expected);
    expect(joined(scan([whole]))).toEqual(expected);
  },
);

test('only what may begin a marker is held back', () => {
  const scanner = new MarkerScanner(TOKEN);
  expect(scanner.push(Buffer.from('abc\x1e'))).toEqual([{ data: Buffer.from('abc') }]);
  expect(scanner.push(Buffer.from('0123x'))).toEqual([{ data: Buffer.from('\x1e0123x') }]);
  expect(scanner.push(Buffer.from(`\x1e${TOKEN} 12`))).toEqual([]);
  expect(scanner.push(Buffer.from('3456789012345'))).toEqual([{ data: Buffer.from(`\x1e${TOKEN} 123456789012345`) }]);
  expect(scanner.end()).toEqual(Buffer.alloc(0));
});

test('a marker right behind another, and right behind data, is found', () => {
  const found = scan([Buffer.concat([Buffer.from('x'), marker(1, 0), marker(2, 255), marker('end', 3)])]);
  expect(joined(found)).toEqual(['x', { name: 1, status: 0 }, { name: 2, status: 255 }, { name: 'end', status: 3 }]);
});
