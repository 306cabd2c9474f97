import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { ImageDescription } from './describe-image.ts';

const schema = z.record(
  z.string(),
  z.object({ files: z.array(z.string()), config: z.record(z.string(), z.unknown()) }),
);

/** What BuildKit made of the corpus, by `keyOf`; written by `record-corpus.ts`. */
export function readRecorded(): Record<string, ImageDescription> {
  return schema.parse(JSON.parse(readFileSync(new URL('./buildkit-images.json', import.meta.url), 'utf8')));
}
