import { randomBytes } from 'node:crypto';
import { Violation } from '../../requests.ts';
import { expectFiles, expectUsable, newSandbox, removeSandbox, run, writeFile } from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import { sha256 } from '../world.ts';

/** The old file or the new one, and no third. */
const upload: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  await run(world, id, 'mkdir /root/files');
  const path = '/root/files/replaced';
  const before = await writeFile(world, id, path);
  const content = randomBytes(200_000);
  const send = () => {
    const form = new FormData();
    form.append('file', new Blob([content]), 'replaced');
    return world.requests.toolbox(id, `/files/upload?path=${encodeURIComponent(path)}`, { method: 'POST', form });
  };
  const answered = await strike(send);
  const names = await run(world, id, 'ls -A /root/files');
  if (names !== 'replaced') throw new Violation(`there are ${names}`);
  const now = (await run(world, id, `sha256sum ${path}`)).slice(0, 64);
  if (answered !== undefined && now === before) throw new Violation('a file that was answered is lost');
  if (answered === undefined && now === before) await send();
  await expectFiles(world, id, { [path]: sha256(content) });
  await expectUsable(world, id);
  await removeSandbox(world, id);
};

export const files = { 'file.poured': upload } satisfies Operations;
