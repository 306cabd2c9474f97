import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../packages/server/src/platform/process.ts';

/**
 * Makes the packages that are installed elsewhere: compiled, because Node strips types in a checkout only and not below
 * node_modules. `node scripts/pack.ts DIR` puts one tarball for each into DIR; `npm install -g DIR/*.tgz` brings `darkroom`.
 */
const checkout = join(import.meta.dirname, '..');
const target = process.argv[2] ?? join(checkout, '.cache', 'packages');
const staging = join(target, 'staging');

await rm(staging, { recursive: true, force: true });
await mkdir(staging, { recursive: true });
await run(join(checkout, 'node_modules', '.bin', 'tsc'), ['-b', 'packages/cli'], { cwd: checkout, timeoutMs: 120_000 });
for (const name of ['contract', 'server', 'cli']) {
  const source = join(checkout, 'packages', name);
  const staged = join(staging, name);
  await cp(join(source, 'dist'), join(staged, 'dist'), {
    recursive: true,
    filter: (path) => !/\.test\.|tsbuildinfo|\/(testing|test-support)$/.test(path),
  });
  await writeFile(join(staged, 'package.json'), await compiledManifest(source));
  await cp(join(checkout, 'LICENSE'), join(staged, 'LICENSE'));
  if (name === 'cli') await cp(join(checkout, 'bin'), join(staged, 'bin'), { recursive: true });
  await run('npm', ['pack', '--loglevel=error', '--pack-destination', target], { cwd: staged, timeoutMs: 60_000 });
}
await rm(staging, { recursive: true });

/** The same package with its entries in `dist`. */
async function compiledManifest(source: string): Promise<string> {
  const text = await readFile(join(source, 'package.json'), 'utf8');
  const manifest = JSON.parse(text.replaceAll(/"\.\/src\/([^"]+)\.ts"/g, '"./dist/$1.js"'));
  return JSON.stringify({ ...manifest, devDependencies: undefined }, null, 2);
}
