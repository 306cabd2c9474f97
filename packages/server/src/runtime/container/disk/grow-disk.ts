import { closeSync, constants, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { DarkroomError, messageOf } from '../../../platform/errors.ts';
import { refreshLoop, resizeExt4 } from '../../../platform/libc-block.ts';
import { run } from '../../../platform/process.ts';
import { diskInUse, extendImage, holdAttached, imageOf } from './disk-image.ts';
import { BLOCK_SIZE, readExt4Size } from './ext4-size.ts';

/** A check of millions of files on a slow disk. */
const TOOL_TIMEOUT_MS = 30 * 60_000;
const LOCK_SECONDS = 30;
/** No exit code of the tools, which are sums of small bits, says this. */
const LOCKED = 254;
const CAP_SYS_RESOURCE = 24n;

/** Makes a disk that nothing has mounted ready for its next mount: mended if it was damaged, and as large as asked. */
export async function prepareStopped(directory: string, bytes: number): Promise<void> {
  const size = readExt4Size(imageOf(directory));
  if (size === undefined) throw new DarkroomError('unavailable', 'the disk of the sandbox holds no file system');
  const grows = size.totalBytes < bytes;
  if (!grows && !size.hasErrors) return;
  if (grows) await extendImage(directory, bytes);
  const image = imageOf(directory);
  // The tool wants a checked file system; 1 means that something was put right.
  await runAlone(image, ['e2fsck', '-f', '-y', image], [0, 1]);
  if (grows) await runAlone(image, ['resize2fs', image], [0]);
}

/** A tool outlives a server that is killed: with the image locked for as long as it runs, the next server waits for its end. */
async function runAlone(image: string, command: readonly string[], okCodes: readonly number[]): Promise<void> {
  const lock = ['--no-fork', '--exclusive', '--wait', String(LOCK_SECONDS), '--conflict-exit-code', String(LOCKED)];
  const { exitCode } = await run('flock', [...lock, image, ...command], {
    timeoutMs: TOOL_TIMEOUT_MS,
    okCodes: [...okCodes, LOCKED],
  });
  if (exitCode === LOCKED) throw diskInUse();
}

/**
 * Grows a disk while its sandbox runs. `mounted` is a directory of it in our own namespace. Raises `unavailable` where the kernel
 * does not let this process; nothing has changed then.
 */
export async function growRunning(directory: string, mounted: string, bytes: number): Promise<void> {
  if (!(await mayResize())) {
    throw new DarkroomError('invalid_request', 'A disk cannot grow under a running sandbox on this server', {
      hint: 'Stop the sandbox and resize it then. The server lacks CAP_SYS_RESOURCE.',
    });
  }
  const device = holdAttached(directory);
  if (device === undefined) throw new DarkroomError('unavailable', 'the disk of the sandbox is not attached');
  try {
    await extendImage(directory, bytes);
    refreshLoop(device.fd);
    const root = openSync(mounted, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      resizeExt4(root, BigInt(Math.floor(bytes / BLOCK_SIZE)));
    } finally {
      closeSync(root);
    }
  } catch (cause) {
    throw new DarkroomError('unavailable', `the disk could not grow: ${messageOf(cause)}`, { cause });
  } finally {
    closeSync(device.fd);
  }
}

/** The kernel asks for it, and containers often run without. */
export async function mayResize(): Promise<boolean> {
  const status = await readFile('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return ((effective >> CAP_SYS_RESOURCE) & 1n) === 1n;
}
