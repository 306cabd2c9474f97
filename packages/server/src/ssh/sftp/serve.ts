import type { ServerChannel } from 'ssh2';
import { DarkroomError, messageOf } from '../../platform/errors.ts';
import type { SshSandbox } from '../../sandboxes/ssh-sandbox.ts';
import { createChannelOutput } from '../channel-output.ts';
import { Handles, type TakeFile } from './handles.ts';
import { type Context, EXTENSIONS, OPERATIONS, status } from './operations.ts';
import { packetsOf } from './packets.ts';
import { BadMessage, PacketReader, packet, REQUEST, RESPONSE, STATUS, string, uint32 } from './wire.ts';

const VERSION = 3;
/** Reads and writes that are under way; their data is in memory. */
const MAX_AT_ONCE = 16;

/**
 * The files of a sandbox for sftp and scp, without any program in it. Reads and writes go side by side, everything else one
 * after the other. Ends with the channel; a packet that is none ends it.
 */
export async function serveSftp(
  channel: ServerChannel,
  { sandbox, takeFile, gone }: { sandbox: SshSandbox; takeFile: TakeFile; gone: Promise<void> },
): Promise<void> {
  const output = createChannelOutput(channel, gone);
  const handles = new Handles(takeFile);
  const ended = new AbortController();
  output.closed.then(() => ended.abort());
  const context: Context = { sandbox, handles, signal: ended.signal };
  const underWay = new Set<Promise<void>>();
  let last = Promise.resolve();
  try {
    for await (const bytes of packetsOf(channel)) {
      const type = bytes[0] ?? 0;
      if (type === REQUEST.INIT) {
        const extensions = EXTENSIONS.flatMap((name) => [string(Buffer.from(name)), string(Buffer.from('1'))]);
        await output.write(packet(RESPONSE.VERSION, uint32(VERSION), ...extensions));
        continue;
      }
      const isTransfer = type === REQUEST.READ || type === REQUEST.WRITE;
      if (!isTransfer) await Promise.all(underWay);
      // In the order of the requests: OpenSSH's scp cuts off what came before what it awaited.
      const earlier = last;
      const reader = new PacketReader(bytes.subarray(1));
      const response = answer(type, uint32(reader.uint32()), reader, context);
      const answered: Promise<void> = earlier
        .then(async () => void (await output.write(await response)))
        .finally(() => underWay.delete(answered));
      last = answered;
      underWay.add(answered);
      if (!isTransfer) await answered;
      while (underWay.size >= MAX_AT_ONCE) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  } catch (error) {
    if (!(error instanceof BadMessage)) throw error;
  } finally {
    await Promise.allSettled(underWay);
    await handles.closeAll();
    if (!output.isClosed() && channel.writable) channel.exit(0);
    channel.end();
  }
}

/** Never rejects. */
async function answer(type: number, id: Buffer, reader: PacketReader, context: Context): Promise<Buffer> {
  try {
    const operation = OPERATIONS[type];
    if (operation === undefined) return status(id, STATUS.OP_UNSUPPORTED, 'not supported');
    return await operation(id, reader, context);
  } catch (error) {
    if (error instanceof BadMessage) return status(id, STATUS.BAD_MESSAGE, error.message);
    const known = error instanceof DarkroomError && error.isUserError;
    return status(id, known ? codeOf(error) : STATUS.FAILURE, known ? messageOf(error) : 'internal error');
  }
}

function codeOf({ code }: DarkroomError): number {
  if (code === 'not_found') return STATUS.NO_SUCH_FILE;
  return code === 'forbidden' ? STATUS.PERMISSION_DENIED : STATUS.FAILURE;
}
