import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerChannel } from 'ssh2';
import type { ExecProcess, TerminalProcess } from '../runtime/types.ts';
import { type ChannelOutput, createChannelOutput, pump } from './channel-output.ts';

/** What a program left in the background may hold its output open for ever; all that it wrote itself is in the pipe by then. */
const QUIET_MS = 200;
const END_OF_INPUT = '\x04';

/** Connects a program to a channel until one of them ends. A client that goes takes the program and all it started along. */
export async function runOnChannel(channel: ServerChannel, child: ExecProcess, gone: Promise<void>): Promise<void> {
  const output = createChannelOutput(channel, gone);
  // It may end without reading its input.
  child.stdin.on('error', () => {});
  channel.pipe(child.stdin);
  await untilEnd(channel, child, output, [
    [child.stdout, output.write],
    [child.stderr, output.writeError],
  ]);
  channel.unpipe(child.stdin);
  child.stdin.destroy();
}

/** The same with a terminal. */
export async function runOnTerminal(
  channel: ServerChannel,
  child: TerminalProcess,
  gone: Promise<void>,
): Promise<void> {
  const output = createChannelOutput(channel, gone);
  child.stream.on('error', () => {});
  // Not ended with it: what the terminal still shows is to be read when the client has no more to type.
  channel.pipe(child.stream, { end: false });
  channel.once('end', () => {
    if (!output.isClosed() && child.stream.writable) child.stream.write(END_OF_INPUT);
  });
  await untilEnd(channel, child, output, [[child.stream, output.write]]);
  channel.unpipe(child.stream);
  child.stream.destroy();
}

type Write = (data: Buffer) => Promise<boolean>;

async function untilEnd(
  channel: ServerChannel,
  child: Pick<ExecProcess, 'exited' | 'killTree'>,
  output: ChannelOutput,
  streams: readonly (readonly [Readable, Write])[],
): Promise<void> {
  let lastAt = performance.now();
  let writing = 0;
  const counted = (write: Write) => async (data: Buffer) => {
    writing += 1;
    const taken = await write(data);
    writing -= 1;
    lastAt = performance.now();
    return taken;
  };
  const drained = Promise.all(streams.map(([from, write]) => pump(from, counted(write)))).then(() => true);
  const exited = child.exited.catch(() => ({ exitCode: 255, signal: undefined }));
  if ((await Promise.race([exited, output.closed.then(() => 'closed' as const)])) === 'closed') {
    await child.killTree().catch(() => {});
    return;
  }
  const exitedAt = performance.now();
  while (!(await Promise.race([drained, output.closed, delay(QUIET_MS / 4, false)]))) {
    // A client that reads slowly gets all of it, however long that takes.
    if (output.isClosed() || (writing === 0 && performance.now() - Math.max(lastAt, exitedAt) > QUIET_MS)) break;
  }
  end(channel, await exited);
}

function end(channel: ServerChannel, { exitCode, signal }: { exitCode: number; signal: string | undefined }): void {
  if (channel.writable) {
    // Without the SIG (RFC 4254, 6.10).
    if (signal !== undefined) channel.exit(signal.replace(/^SIG/, ''), false, '');
    else channel.exit(exitCode);
  }
  channel.end();
}

/** What a person sees in place of a program. */
export async function refuseOnChannel(channel: ServerChannel, message: string, gone: Promise<void>): Promise<void> {
  const output = createChannelOutput(channel, gone);
  await output.writeError(Buffer.from(`${message}\r\n`));
  end(channel, { exitCode: 255, signal: undefined });
}
