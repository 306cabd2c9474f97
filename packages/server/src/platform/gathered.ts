/** Small chunks together, up to about `size` bytes: what follows costs by the piece more than by the byte. */
export async function* gathered(chunks: AsyncIterable<Buffer | string>, size: number): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    pieces.push(bytes);
    length += bytes.length;
    if (length < size) continue;
    yield pieces.length === 1 ? bytes : Buffer.concat(pieces, length);
    pieces = [];
    length = 0;
  }
  if (length > 0) yield Buffer.concat(pieces, length);
}
