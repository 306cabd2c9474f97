import type { Readable, Writable } from 'node:stream';

/** What of a channel is written to. */
export interface OutputChannel extends Writable {
  stderr: Writable;
}

/**
 * Writes to a channel one piece at a time and waits for the client's window, so that a slow reader holds its own program up and
 * nothing else. Resolves false when nobody reads any more.
 */
export interface ChannelOutput {
  write(data: Buffer): Promise<boolean>;
  writeError(data: Buffer): Promise<boolean>;
  /** Resolves when the channel is closed, by whomever. */
  readonly closed: Promise<void>;
  readonly isClosed: () => boolean;
}

/** `gone`: the client has closed it. A channel tells of that only when all that was sent to it has been read. */
export function createChannelOutput(channel: OutputChannel, gone: Promise<void>): ChannelOutput {
  let isClosed = false;
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const close = () => {
    isClosed = true;
    resolve();
  };
  channel.once('close', close);
  gone.then(close);
  for (const stream of [channel, channel.stderr]) stream.on('error', () => {});
  let tail: Promise<unknown> = Promise.resolve();

  async function writeTo(stream: Writable, data: Buffer): Promise<boolean> {
    if (isClosed || !stream.writable) return false;
    // A channel that closes never calls back for what was waiting.
    const written = await Promise.race([
      new Promise<boolean>((done) => stream.write(data, (error) => done(!error))),
      closed.then(() => false),
    ]);
    // The library does not forget a piece that had to wait, and would send it again when the other stream has to.
    for (const member of ['_chunk', '_chunkcb', '_chunkErr', '_chunkcbErr']) Reflect.set(channel, member, undefined);
    return written;
  }

  function inTurn(stream: Writable, data: Buffer): Promise<boolean> {
    const turn = tail.then(() => writeTo(stream, data));
    tail = turn;
    return turn;
  }

  return {
    write: (data) => inTurn(channel, data),
    writeError: (data) => inTurn(channel.stderr, data),
    closed,
    isClosed: () => isClosed,
  };
}

/** Reads to the end, or until nobody takes it. What comes after is read and dropped: its writer must not die of a closed pipe. */
export async function pump(
  from: Readable,
  write: (data: Buffer) => Promise<boolean>,
  onPiece: () => void = () => {},
): Promise<void> {
  try {
    let taken = true;
    // Not destroyed at its end: the other direction of a socket may go on.
    for await (const chunk of from.iterator({ destroyOnReturn: false })) {
      onPiece();
      if (taken) taken = await write(Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk)));
    }
  } catch {
    // A broken pipe ends the output; the exit code says how the program ended.
  }
}
