import type { ServerChannel } from 'ssh2';
import type { SshSandbox } from '../sandboxes/ssh-sandbox.ts';
import { createChannelOutput, pump } from './channel-output.ts';

const CONNECT_TIMEOUT_MS = 30_000;

/** Names of the sandbox itself. Others are not reached through it: its network policy is for what runs in it. */
export function isSandboxAddress(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|0\.0\.0\.0|::|)$/i.test(host);
}

/** Connects a channel to a port of the sandbox until both sides have ended. `accept` is called when the port answers. */
export async function forward(
  sandbox: SshSandbox,
  port: number,
  accept: () => ServerChannel | undefined,
  gone: Promise<void>,
): Promise<void> {
  const socket = await sandbox.connect(port, AbortSignal.timeout(CONNECT_TIMEOUT_MS));
  socket.on('error', () => {});
  const channel = accept();
  if (!channel) return void socket.destroy();
  const output = createChannelOutput(channel, gone);
  // The client ends its side, and may read on.
  channel.pipe(socket);
  const clientEnded = new Promise<void>((resolve) => channel.once('end', resolve));
  const received = pump(socket, output.write).then(() => {
    // As the server does: an end of one direction, not of the channel.
    if (!output.isClosed() && 'eof' in channel && typeof channel.eof === 'function') channel.eof();
  });
  const hungUp = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await Promise.race([output.closed, Promise.all([received, clientEnded]), hungUp.then(() => received)]);
  if (!output.isClosed()) channel.end();
  socket.destroy();
}
