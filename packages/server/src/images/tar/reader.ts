import { cString, isZeroBlock } from './fields.ts';
import { type Header, parseHeader } from './header.ts';
import { type Member, resolveMember } from './member.ts';
import { mergeGlobal, type PaxRecords, parsePax } from './pax.ts';
import { checkSegments, createLineMap, oldGnuSegments, type Segment } from './sparse.ts';
import { MAX_META_BYTES, TarFormatError, type TarReader, type TarSink } from './types.ts';

const BLOCK = 512;
/** Extension blocks of the old sparse format that one file may have. */
const MAX_SPARSE_BLOCKS = MAX_META_BYTES / BLOCK;

/** Reads ustar, GNU and PAX archives. What follows the end of the archive is passed over. */
export function createTarReader(sink: TarSink): TarReader {
  return new Reader(sink);
}

class Reader implements TarReader {
  readonly #sink: TarSink;

  // Bytes that are handed to `#take` only when all of them are there.
  #want = BLOCK;
  #take: (bytes: Buffer) => void = (block) => this.#takeHeader(block);
  #parts: Buffer[] = [];
  #have = 0;

  // Bytes that go through as they come, before the next header.
  #dataLeft = 0;
  #skipLeft = 0;
  #paddingLeft = 0;
  #segments: readonly Segment[] = [];
  #segment = 0;
  #segmentDone = 0;

  // Headers that speak of the next member.
  #global: PaxRecords = [];
  #local: PaxRecords | undefined;
  #longName: Buffer | undefined;
  #longLink: Buffer | undefined;

  #zeroBlocks = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#zeroBlocks < 2) {
      const left = chunk.length - at;
      if (this.#dataLeft > 0) {
        const count = Math.min(this.#dataLeft, left);
        this.#deliver(chunk.subarray(at, at + count));
        this.#dataLeft -= count;
        at += count;
        if (this.#dataLeft === 0) this.#sink.endEntry();
      } else if (this.#skipLeft > 0) {
        const count = Math.min(this.#skipLeft, left);
        this.#skipLeft -= count;
        at += count;
      } else if (this.#paddingLeft > 0) {
        const count = Math.min(this.#paddingLeft, left);
        this.#paddingLeft -= count;
        at += count;
      } else {
        at += this.#collect(chunk, at);
      }
    }
  }

  end(): void {
    if (this.#dataLeft > 0 || this.#skipLeft > 0) throw new TarFormatError('the archive ends inside a file');
    if (this.#have > 0 || this.#want !== BLOCK || this.#expectsMember()) {
      throw new TarFormatError('the archive ends inside a header');
    }
  }

  #expectsMember(): boolean {
    return this.#local !== undefined || this.#longName !== undefined || this.#longLink !== undefined;
  }

  #collect(chunk: Buffer, at: number): number {
    const count = Math.min(this.#want - this.#have, chunk.length - at);
    const piece = chunk.subarray(at, at + count);
    if (count === this.#want) {
      this.#take(piece);
      return count;
    }
    // The chunk is the caller's again after `push`.
    this.#parts.push(Buffer.from(piece));
    this.#have += count;
    if (this.#have === this.#want) {
      const whole = Buffer.concat(this.#parts);
      this.#parts = [];
      this.#have = 0;
      this.#take(whole);
    }
    return count;
  }

  #next(want: number, take: (bytes: Buffer) => void): void {
    this.#want = want;
    this.#take = take;
  }

  #nextHeader(): void {
    this.#next(BLOCK, (block) => this.#takeHeader(block));
  }

  #takeHeader(block: Buffer): void {
    if (isZeroBlock(block)) {
      if (this.#expectsMember()) throw new TarFormatError('the archive ends inside a header');
      this.#zeroBlocks++;
      return;
    }
    if (this.#zeroBlocks > 0) throw new TarFormatError('a zero block stands between two headers');
    const header = parseHeader(block);
    switch (header.flag) {
      case 'x':
      case 'X':
        this.#takeMeta(header, (body) => {
          this.#local = [...(this.#local ?? []), ...parsePax(body)];
          if (this.#local.length > MAX_META_BYTES / 8) throw new TarFormatError('a member has too many PAX records');
        });
        break;
      case 'g':
        this.#takeMeta(header, (body) => {
          this.#global = mergeGlobal(this.#global, parsePax(body));
        });
        break;
      case 'L':
        this.#takeMeta(header, (body) => {
          this.#longName = Buffer.from(cString(body, 0, body.length));
        });
        break;
      case 'K':
        this.#takeMeta(header, (body) => {
          this.#longLink = Buffer.from(cString(body, 0, body.length));
        });
        break;
      // A volume's label, which is no member.
      case 'V':
        this.#skip(header.size);
        break;
      default:
        this.#takeMember(header, block);
    }
  }

  #takeMeta(header: Header, use: (body: Buffer) => void): void {
    if (header.size > MAX_META_BYTES) throw new TarFormatError('an extended header is too long');
    if (header.size === 0) {
      use(Buffer.alloc(0));
      return;
    }
    this.#next(padded(header.size), (bytes) => {
      this.#nextHeader();
      use(bytes.subarray(0, header.size));
    });
  }

  #takeMember(header: Header, block: Buffer): void {
    const member = resolveMember(header, block, this.#global, this.#local ?? [], this.#longName, this.#longLink);
    this.#local = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    const { entry, layout } = member;
    if (entry.type !== 'file') {
      this.#sink.entry(entry);
      this.#sink.endEntry();
      this.#skip(member.storedSize);
      return;
    }
    if (layout.kind === 'extensions') this.#takeExtensions(member, layout.segments);
    else if (layout.kind === 'line-map') this.#takeLineMap(member);
    else if (layout.kind === 'segments') this.#startData(member, layout.segments, member.storedSize);
    else this.#startData(member, [{ offset: 0, length: entry.size }], entry.size);
  }

  #takeExtensions(member: Member, first: Segment[]): void {
    const segments = [...first];
    let blocks = 0;
    this.#next(BLOCK, (block) => {
      if (++blocks > MAX_SPARSE_BLOCKS) throw new TarFormatError('the map of a sparse file is too long');
      const { segments: found, more } = oldGnuSegments(block, 'extension');
      segments.push(...found);
      if (more) return;
      this.#nextHeader();
      this.#startData(member, segments, member.storedSize);
    });
  }

  #takeLineMap(member: Member): void {
    const map = createLineMap();
    let stored = member.storedSize;
    this.#next(BLOCK, (block) => {
      stored -= BLOCK;
      if (stored < 0) throw new TarFormatError('the map of a sparse file is longer than its data');
      const segments = map.add(block);
      if (segments === undefined) return;
      this.#nextHeader();
      this.#startData(member, segments, stored);
    });
  }

  #startData({ entry }: Member, segments: readonly Segment[], storedSize: number): void {
    checkSegments(segments, entry.size, storedSize);
    this.#segments = segments;
    this.#segment = 0;
    this.#segmentDone = 0;
    this.#dataLeft = storedSize;
    this.#paddingLeft = padded(storedSize) - storedSize;
    this.#sink.entry(entry);
    if (storedSize === 0) this.#sink.endEntry();
  }

  #deliver(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const segment = this.#segments[this.#segment];
      if (segment === undefined) throw new TarFormatError('a sparse file has more data than its map');
      const count = Math.min(segment.length - this.#segmentDone, bytes.length - at);
      if (count > 0) this.#sink.data(bytes.subarray(at, at + count), segment.offset + this.#segmentDone);
      at += count;
      this.#segmentDone += count;
      if (this.#segmentDone === segment.length) {
        this.#segment++;
        this.#segmentDone = 0;
      }
    }
  }

  #skip(size: number): void {
    this.#skipLeft = size;
    this.#paddingLeft = padded(size) - size;
  }
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}
