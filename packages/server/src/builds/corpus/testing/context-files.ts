import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { buildTar, type TestMember } from '../../../images/tar/testing/build-tar.ts';
import { contextMembers } from '../../files/testing/fixture-trees.ts';
import type { CorpusCase } from './read-cases.ts';

const OLD = 1_450_000_000;
/** Made once: programs compress some of them. */
let shared: TestMember[] | undefined;

/** What all cases have in their contexts, and the files of this one with the directories that they are in. */
export function contextTar({ files }: CorpusCase): Buffer {
  shared ??= contextMembers();
  const directories = new Set(
    [...files.keys()].flatMap((path) => {
      const parts = path.split('/').slice(0, -1);
      return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    }),
  );
  return buildTar([
    ...shared,
    ...[...directories].map((name): TestMember => ({ name: `${name}/`, flag: '5', mode: 0o755, mtime: OLD })),
    ...[...files].map(([name, text]): TestMember => ({ name, data: Buffer.from(text), mode: 0o644, mtime: OLD })),
  ]);
}

/** The context as a directory. */
export function writeContext(each: CorpusCase, directory: string): void {
  mkdirSync(directory, { recursive: true });
  execFileSync('tar', ['-xp', '-C', directory], { input: contextTar(each) });
}
