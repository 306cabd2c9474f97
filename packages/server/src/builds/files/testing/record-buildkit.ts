import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildTar } from '../../../images/tar/testing/build-tar.ts';
import { describeLines } from './describe-cases.ts';
import { contextMembers } from './fixture-trees.ts';
import { caseDirectory, caseText, indexed, oracleDockerfile } from './oracle-dockerfile.ts';
import { CASES, REFUSED } from './transfer-cases.ts';

/**
 * Writes `buildkit-trees.json` anew: what BuildKit makes of the cases. Needs root and a running buildkitd:
 *
 *     node record-buildkit.ts BUILDCTL unix:///run/buildkit/buildkitd.sock
 */
const [buildctl, address] = process.argv.slice(2);
if (buildctl === undefined || address === undefined) throw new Error('usage: record-buildkit.ts BUILDCTL ADDRESS');

const root = mkdtempSync(join(tmpdir(), 'record-'));
const options = ['--addr', address, 'build', '--progress=plain', '--frontend', 'dockerfile.v0'];

function build(name: string, dockerfile: string): { ok: boolean; words: string; tar: string } {
  const directory = join(root, name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'Dockerfile'), dockerfile);
  const tar = join(directory, 'out.tar');
  const locals = ['--local', `context=${join(root, 'context')}`, '--local', `dockerfile=${directory}`];
  const { status, stderr } = spawnSync(buildctl ?? '', [...options, ...locals, '--output', `type=tar,dest=${tar}`], {
    encoding: 'utf8',
  });
  return { ok: status === 0, words: stderr.trim().split('\n').at(-1) ?? '', tar };
}

try {
  mkdirSync(join(root, 'context'));
  execFileSync('tar', ['-xp', '-C', join(root, 'context')], { input: buildTar(contextMembers()) });
  const { ok, words, tar } = build('all', oracleDockerfile(indexed(CASES)));
  if (!ok) throw new Error(words);
  const tree = join(root, 'tree');
  mkdirSync(tree);
  execFileSync('tar', ['-xp', '--numeric-owner', '--xattrs', '--xattrs-include=*', '-C', tree, '-f', tar]);
  const trees = indexed(CASES).map(
    ({ text, index }) => [text, describeLines(join(tree, caseDirectory(index)), 0)] as const,
  );
  for (const [index, { text }] of REFUSED.entries()) {
    const refused = build(`refused-${index}`, oracleDockerfile([{ index: 0, text }]));
    console.log(`${caseText(text, 0)}: ${refused.ok ? 'BUILT' : refused.words}`);
  }
  writeFileSync(
    new URL('./buildkit-trees.json', import.meta.url),
    `${JSON.stringify(Object.fromEntries(trees), undefined, 2)}\n`,
  );
} finally {
  rmSync(root, { recursive: true, force: true });
}
