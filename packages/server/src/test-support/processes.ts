import { readdir, readFile } from 'node:fs/promises';

/** Ids of processes of this machine that have exactly this argument. */
export async function processesOf(argument: string): Promise<number[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    ids.map(async (id) => {
      const line = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '');
      return line.split('\0').includes(argument) ? [Number(id)] : [];
    }),
  );
  return found.flat();
}
