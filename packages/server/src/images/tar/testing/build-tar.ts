/** Writes archives for tests, also such that no tool would write. */
export interface TestMember {
  name: string | Buffer;
  /** The type flag; `0` by default. */
  flag?: string;
  linkName?: string | Buffer;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  data?: Buffer;
  /** What the header says instead of the length of the data. */
  size?: number;
  /** Records of a PAX header before the member. */
  pax?: ReadonlyArray<readonly [string, string | Buffer]>;
  /** A global one. */
  global?: boolean;
  magic?: 'posix' | 'gnu' | 'none';
  prefix?: string;
  /** Bytes to put into the header before its checksum is made. */
  patch?: ReadonlyArray<readonly [offset: number, bytes: Buffer]>;
  deviceMajor?: number;
  deviceMinor?: number;
}

export function buildTar(members: readonly TestMember[]): Buffer {
  return Buffer.concat([...members.flatMap(memberBlocks), Buffer.alloc(1024)]);
}

export function memberBlocks(member: TestMember): Buffer[] {
  const blocks: Buffer[] = [];
  if (member.pax !== undefined) {
    const body = paxBody(member.pax);
    blocks.push(header({ name: 'pax', flag: member.global === true ? 'g' : 'x', size: body.length }), padded(body));
    if (member.global === true) return blocks;
  }
  const data = member.data ?? Buffer.alloc(0);
  return [...blocks, header({ size: data.length, ...member }), padded(data)];
}

/** `LENGTH KEY=VALUE\n`, where the length counts its own digits. */
export function paxBody(records: ReadonlyArray<readonly [string, string | Buffer]>): Buffer {
  return Buffer.concat(
    records.map(([key, value]) => {
      const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), Buffer.from(value), Buffer.from('\n')]);
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
}

/** GNU's long name (`L`) or long link (`K`) member. */
export function gnuLong(flag: 'L' | 'K', text: string | Buffer): TestMember {
  return { name: '././@LongLink', flag, data: Buffer.concat([Buffer.from(text), Buffer.of(0)]), magic: 'gnu' };
}

export function header(member: TestMember): Buffer {
  const block = Buffer.alloc(512);
  Buffer.from(member.name).copy(block, 0, 0, 100);
  numberInto(block, 100, 8, member.mode ?? 0o644);
  numberInto(block, 108, 8, member.uid ?? 0);
  numberInto(block, 116, 8, member.gid ?? 0);
  numberInto(block, 124, 12, member.size ?? 0);
  numberInto(block, 136, 12, member.mtime ?? 0);
  block.write(member.flag ?? '0', 156, 'latin1');
  Buffer.from(member.linkName ?? '').copy(block, 157, 0, 100);
  if (member.magic === 'gnu') block.write('ustar  \0', 257, 'latin1');
  else if (member.magic !== 'none') block.write('ustar\x0000', 257, 'latin1');
  numberInto(block, 329, 8, member.deviceMajor ?? 0);
  numberInto(block, 337, 8, member.deviceMinor ?? 0);
  block.write(member.prefix ?? '', 345, 'latin1');
  for (const [offset, bytes] of member.patch ?? []) bytes.copy(block, offset);
  return withChecksum(block);
}

export function withChecksum(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Octal where it fits, else base-256, as GNU tar does. */
export function numberInto(block: Buffer, offset: number, length: number, value: number): void {
  if (value >= 0 && value < 8 ** (length - 1)) {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
    return;
  }
  let rest = BigInt.asUintN(length * 8, BigInt(value));
  for (let at = offset + length - 1; at >= offset; at--) {
    block[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[offset] = (block[offset] ?? 0) | 0x80;
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}
