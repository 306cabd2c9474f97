import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../packages/server/src/platform/process.ts';

/** A Python package with one word in it, as a wheel that pip installs without an index. */
export async function writeTinyWheel(directory: string, name: string, word: string): Promise<void> {
  const source = join(directory, `${name}.source`);
  const info = join(source, `${name}-1.0.dist-info`);
  await mkdir(info, { recursive: true });
  await writeFile(join(source, `${name}.py`), `word = ${JSON.stringify(word)}\n`);
  await writeFile(join(info, 'METADATA'), `Metadata-Version: 2.1\nName: ${name}\nVersion: 1.0\n`);
  await writeFile(
    join(info, 'WHEEL'),
    'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
  );
  const files = [`${name}.py`, ...['METADATA', 'WHEEL'].map((file) => `${name}-1.0.dist-info/${file}`)];
  const record = `${name}-1.0.dist-info/RECORD`;
  await writeFile(join(source, record), [...files, record].map((file) => `${file},,\n`).join(''));
  const wheel = join(directory, `${name}-1.0-py3-none-any.whl`);
  await run('python3', ['-m', 'zipfile', '-c', wheel, `${name}.py`, `${name}-1.0.dist-info`], {
    timeoutMs: 30_000,
    cwd: source,
  });
  await rm(source, { recursive: true });
}
