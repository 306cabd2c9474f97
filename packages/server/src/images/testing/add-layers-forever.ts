import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLayerStore } from '../layer-store.ts';

/** A process to be killed: adds layers of ten files and removes every third, and says what it has done. */
const FILES = 10;

async function main(root: string): Promise<void> {
  const store = await createLayerStore(root, { graceMs: 0 });
  const say = (what: string) => process.stdout.write(`${what}\n`);
  const kept = new Set((await store.list()).map(({ diffId }) => diffId));
  for (let turn = 0; ; turn++) {
    const diffId = `sha256:${createHash('sha256').update(`${process.pid}/${turn}`).digest('hex')}`;
    const fill = async (directory: string) => {
      for (let index = 0; index < FILES; index++) {
        writeFileSync(join(directory, `${index}`), diffId);
        if (index === 5) say('filling');
      }
      return { sizeBytes: FILES * diffId.length };
    };
    await store.add(diffId, fill, new AbortController().signal);
    if (turn % 3 === 2) {
      say(`removing ${diffId}`);
      await store.sweep(kept);
    } else {
      kept.add(diffId);
      say(`added ${diffId}`);
    }
  }
}

const [, , root] = process.argv;
if (root !== undefined) await main(root);
