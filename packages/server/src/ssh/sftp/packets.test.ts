import { PassThrough, Readable } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_PACKET_BYTES, packetsOf } from './packets.ts';
import { BadMessage, nameString, PacketReader, packet, string, uint32, uint64 } from './wire.ts';

async function read(stream: Readable): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for await (const bytes of packetsOf(stream)) found.push(bytes);
  return found;
}

test('packets come out whole however the stream is cut', async () => {
  const packets = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(packets, fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1 }), async (bodies, cuts) => {
      const sent = Buffer.concat(bodies.map((body) => packet(7, Buffer.from(body))));
      const pieces: Buffer[] = [];
      for (let at = 0, cut = 0; at < sent.length; cut++) {
        const length = cuts[cut % cuts.length] ?? 1;
        pieces.push(sent.subarray(at, at + length));
        at += length;
      }
      const found = await read(Readable.from(pieces, { objectMode: true }));
      expect(found.map((one) => one.toString('hex'))).toEqual(
        bodies.map((body) => `07${Buffer.from(body).toString('hex')}`),
      );
    }),
    { numRuns: 60 },
  );
});

test.each([0, MAX_PACKET_BYTES + 1, 0xffffffff])(
  'a packet that says it has %i bytes ends the reading',
  async (length) => {
    await expect(read(Readable.from([uint32(length)], { objectMode: true }))).rejects.toBeInstanceOf(BadMessage);
  },
);

test('a stream that ends in the middle of a packet gives only what is whole', async () => {
  const stream = new PassThrough();
  stream.write(packet(1));
  stream.end(packet(2, Buffer.from('cut off')).subarray(0, 6));
  expect(await read(stream)).toEqual([Buffer.of(1)]);
});

test('fields come back as they were written, also names of any bytes', () => {
  const name = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.nat(), fc.nat(), name, (small, large, bytes) => {
      const reader = new PacketReader(Buffer.concat([uint32(small), uint64(large), string(bytes), string(bytes)]));
      expect([reader.uint32(), reader.uint64(), reader.bytes()]).toEqual([small, large, bytes]);
      expect(nameString(reader.name()).subarray(4)).toEqual(bytes);
      expect(() => reader.byte()).toThrow(BadMessage);
    }),
  );
});

test('fields that reach past the packet, and numbers past every file, are refused', () => {
  expect(() => new PacketReader(Buffer.concat([uint32(100), Buffer.from('short')])).bytes()).toThrow(BadMessage);
  expect(() => new PacketReader(Buffer.alloc(8, 0xff)).uint64()).toThrow(BadMessage);
});
