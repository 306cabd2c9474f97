import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of the package that runs. */
export const serverVersion: string = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8'),
).version;
