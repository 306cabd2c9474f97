import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildTar } from '../../images/tar/testing/build-tar.ts';
import { ID_BASE } from '../../images/unpack/testing/layer-blob.ts';
import { run } from '../../platform/process.ts';
import { describeLines } from './testing/describe-cases.ts';
import { basesIn, contextMembers } from './testing/fixture-trees.ts';
import { caseDirectory, caseText, indexed, oracleDockerfile } from './testing/oracle-dockerfile.ts';
import { CASES } from './testing/transfer-cases.ts';
import { createTransferLab, type TransferLab } from './testing/transfer-lab.ts';

const COMPARED = indexed(CASES).filter(({ buildah }) => buildah === 'same');

let lab: TransferLab;
let root: string;
let theirs: string;
const storage = () => ['--root', join(root, 'storage'), '--runroot', join(root, 'run'), '--storage-driver', 'vfs'];

beforeAll(async () => {
  lab = await createTransferLab(indexed(CASES).map(({ index }) => caseDirectory(index)));
  root = mkdtempSync(join(tmpdir(), 'buildah-'));
  const context = join(root, 'context');
  mkdirSync(context);
  writeFileSync(join(root, 'Dockerfile'), oracleDockerfile(COMPARED, 'bases.tar'));
  await run('tar', ['-xp', '-C', context], { input: buildTar(contextMembers()), timeoutMs: 30_000 });
  const bases = basesIn(COMPARED.map(({ index }) => caseDirectory(index)));
  writeFileSync(join(context, 'bases.tar'), buildTar(bases));
  const build = [
    'bud',
    '--isolation',
    'chroot',
    '--layers=false',
    '-f',
    join(root, 'Dockerfile'),
    '-t',
    'cases',
    context,
  ];
  await run('buildah', [...storage(), ...build], { timeoutMs: 180_000 });
  const { stdout: container } = await run('buildah', [...storage(), 'from', '--pull-never', 'cases'], {
    timeoutMs: 60_000,
  });
  const { stdout } = await run('buildah', [...storage(), 'mount', container.trim()], { timeoutMs: 60_000 });
  theirs = stdout.trim();
}, 300_000);

afterAll(async () => {
  lab?.close();
  await run('buildah', [...storage(), 'umount', '--all'], { timeoutMs: 60_000, okCodes: [0, 1, 125] }).catch(() => {});
  rmSync(root, { recursive: true, force: true });
});

/** Its times of directories are when it copied. */
const timeless = (lines: readonly string[]) => lines.map((line) => line.replace(/^(\S+ directory \S+ \S+) \S+/, '$1'));

describe('what is copied is what buildah makes', () => {
  test.each(COMPARED)('$name: $text', async ({ text, index }) => {
    const directory = caseDirectory(index);
    const { merged } = await lab.run(caseText(text, index), { workingDirectory: `${directory}/work` });
    expect(timeless(describeLines(`${merged}${directory}`, ID_BASE))).toEqual(
      timeless(describeLines(`${theirs}${directory}`, 0)),
    );
  });
});
