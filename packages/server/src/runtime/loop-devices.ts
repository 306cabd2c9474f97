import { z } from 'zod';
import { DarkroomError } from '../platform/errors.ts';
import { run } from '../platform/process.ts';

const TOOL_TIMEOUT_MS = 20_000;

const loopDeviceSchema = z.object({
  name: z.string(),
  ro: z.boolean(),
  offset: z.number(),
  sizelimit: z.number(),
  autoclear: z.boolean(),
});
const listSchema = z.object({ loopdevices: z.array(loopDeviceSchema) });
export type LoopDevice = z.infer<typeof loopDeviceSchema>;

/** Every loop device over this file, by its device and inode, in whichever namespace it is mounted. */
export async function loopDevicesOver(file: string): Promise<LoopDevice[]> {
  const columns = 'NAME,RO,OFFSET,SIZELIMIT,AUTOCLEAR';
  const { stdout } = await run('losetup', ['--json', '--output', columns, '--associated', file], {
    timeoutMs: TOOL_TIMEOUT_MS,
  });
  return stdout.trim() === '' ? [] : listSchema.parse(JSON.parse(stdout)).loopdevices;
}

/** A loop device over the whole file, with direct I/O where the file system below can, so that pages are not cached twice. */
export async function attachLoopDevice(file: string, sectorSize: number): Promise<string> {
  // --nooverlap asks the kernel's list once more, right before the device is made.
  const base = ['--find', '--show', '--nooverlap', `--sector-size=${sectorSize}`];
  try {
    return await losetup([...base, '--direct-io=on', file]);
  } catch (cause) {
    if ((await loopDevicesOver(file)).length > 0) throw cause;
  }
  try {
    return await losetup([...base, file]);
  } catch (cause) {
    throw new DarkroomError('unavailable', `no loop device could be made over ${file}`, {
      hint: 'Load the module (`modprobe loop`), raise its max_loop, or in a container pass /dev/loop-control and the loop devices in. A state directory on XFS or btrfs with reflinks needs none.',
      cause,
    });
  }
}

/** The device goes as soon as nothing is mounted from it. Detaching a busy device does exactly that. */
export async function detachWhenUnused(device: string): Promise<void> {
  await run('losetup', ['--detach', device], { timeoutMs: TOOL_TIMEOUT_MS });
}

/** Makes the device as large as its file has become. */
export async function refreshLoopDevice(device: string): Promise<void> {
  await run('losetup', ['--set-capacity', device], { timeoutMs: TOOL_TIMEOUT_MS });
}

async function losetup(args: string[]): Promise<string> {
  const { stdout } = await run('losetup', args, { timeoutMs: TOOL_TIMEOUT_MS });
  return stdout.trim();
}
