import { failureOfConnection, RegistryFailure } from './failure.ts';
import type { TransportResponse } from './transport.ts';

/** Reads a whole body that must be small. */
export async function readDocument(
  what: string,
  response: TransportResponse,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const tooLarge = () => new RegistryFailure('invalid', `${what}: the answer is larger than ${maxBytes} bytes`);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    if (Number(response.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
    for await (const chunk of response.body) {
      if (!Buffer.isBuffer(chunk)) continue;
      size += chunk.length;
      if (size > maxBytes) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    response.body.on('error', () => {}).destroy();
    signal.throwIfAborted();
    throw failureOfConnection(what, error);
  }
  return Buffer.concat(chunks);
}
