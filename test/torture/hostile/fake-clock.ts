import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';

/** A clock that programs see when they are started with `env`; the machine's own is never touched. */
export interface FakeClock {
  env: Record<string, string>;
  /** Seconds between it and the machine's clock from now on. */
  set(seconds: number): Promise<void>;
  remove(): Promise<void>;
}

const triplet = arch() === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
/** Of Debian's package `faketime`. */
const LIBRARY = `/usr/lib/${triplet}/faketime/libfaketimeMT.so.1`;

export async function makeFakeClock(): Promise<FakeClock> {
  if (!existsSync(LIBRARY)) throw new Error(`${LIBRARY} is missing: apt-get install faketime`);
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-clock-'));
  // The database runs as another user.
  await chmod(directory, 0o755);
  const file = join(directory, 'offset');
  const set = async (seconds: number) => {
    await writeFile(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    await rename(`${file}.new`, file);
  };
  await set(0);
  return {
    env: {
      LD_PRELOAD: LIBRARY,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      // Setting a clock leaves the time since the machine's start alone.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
    },
    set,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}
