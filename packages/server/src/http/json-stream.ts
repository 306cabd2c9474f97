/** The inside of a JSON string (without its quotes), in pieces, from bytes that should be UTF-8. What is not becomes U+FFFD. */
export async function* jsonStringPieces(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  // A character may be cut by the border of two chunks; the decoder keeps its first half. A BOM is content like any other.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for await (const chunk of chunks) yield escapeJson(decoder.decode(chunk, { stream: true }));
  yield escapeJson(decoder.decode());
}

function escapeJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
