import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonStringPieces } from './json-stream.ts';

async function decode(pieces: readonly Uint8Array[]): Promise<unknown> {
  async function* source() {
    for (const piece of pieces) yield Buffer.from(piece);
  }
  let text = '';
  for await (const piece of jsonStringPieces(source())) text += piece;
  return JSON.parse(`"${text}"`);
}

test('any text survives, wherever it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), fc.nat(), async (text, cut) => {
      const bytes = Buffer.from(text.toWellFormed());
      const at = bytes.length === 0 ? 0 : cut % bytes.length;
      expect(await decode([bytes.subarray(0, at), bytes.subarray(at)])).toBe(text.toWellFormed());
    }),
  );
});

test('bytes that are not UTF-8 become replacement characters and never broken JSON', async () => {
  expect(await decode([Buffer.from([0x61, 0xff, 0x00, 0x62])])).toBe('a\ufffd\0b');
  expect(await decode([Buffer.from([0xe2, 0x82])])).toBe('\ufffd');
  await fc.assert(
    fc.asyncProperty(fc.uint8Array(), async (bytes) => {
      expect(typeof (await decode([bytes]))).toBe('string');
    }),
  );
});
