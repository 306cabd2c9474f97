import type { FsckLineDto } from '@darkroom/contract';
import { expect, test } from 'vitest';
import { createFsckPrinter } from './fsck-printer.ts';

const finding: FsckLineDto = {
  type: 'finding',
  kind: 'layer-missing',
  id: 'sha256:ab',
  where: 'snapshot app',
  problem: 'layer sha256:ab is not on this machine',
  repair: 'fetch it again',
  outcome: 'found',
  note: null,
};
const progress: FsckLineDto = { type: 'progress', check: 'c', title: 'files of layers', done: 2, total: 5 };
const end: FsckLineDto = { type: 'end', findings: 1, repaired: 0, left: 1, seconds: 1.23 };

function streamInto(add: (text: string) => void, isTTY: boolean) {
  const write = (text: unknown) => {
    add(String(text));
    return true;
  };
  return { isTTY, write };
}

function printed(lines: readonly FsckLineDto[], options: { json?: boolean; repair?: boolean; isTTY?: boolean }) {
  const written = { out: '', progress: '' };
  const printer = createFsckPrinter({
    json: options.json ?? false,
    repair: options.repair ?? false,
    color: false,
    out: streamInto((text) => {
      written.out += text;
    }, false),
    progress: streamInto((text) => {
      written.progress += text;
    }, options.isTTY ?? false),
  });
  for (const line of lines) printer.print(line);
  printer.close();
  return written;
}

test('a finding says what, where, why, and what a repair would do', () => {
  expect(printed([progress, finding, end], {})).toEqual({
    progress: '',
    out: [
      'found layer-missing sha256:ab',
      '  where  snapshot app',
      '  why    layer sha256:ab is not on this machine',
      '  --repair would: fetch it again',
      '1 found; looked for 1.2 s. --repair puts right what says so.',
      '',
    ].join('\n'),
  });
});

test('names of files in layers do not steer the terminal', () => {
  const { out } = printed([{ ...finding, problem: 'damaged: /a\x1b]0;x\x07\n/b' }], {});
  expect(out).toContain('  why    damaged: /a\\x1b]0;x\\x07\\x0a/b\n');
});

test('with repair it says what was done, and what could not be', () => {
  const repaired: FsckLineDto = { ...finding, outcome: 'repaired', note: 'fetched again' };
  const failed: FsckLineDto = { ...finding, outcome: 'failed', note: 'no registry answers' };
  const { out } = printed([repaired, failed, { ...finding, repair: null }, { ...end, repaired: 1 }], { repair: true });
  expect(out).toContain('repaired layer-missing');
  expect(out).toContain('  repair: fetch it again (fetched again)');
  expect(out).toContain('failed layer-missing');
  expect(out).toContain('(no registry answers)');
  expect(out).toContain('no repair: see above');
  expect(out).toMatch(/1 found, 1 repaired, 1 left; looked for 1\.2 s\.\n$/);
});

test('as JSON each finding is a line, and progress is for terminals', () => {
  const { out, progress: shown } = printed([progress, finding, end], { json: true, isTTY: true });
  expect(
    out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([finding, end]);
  expect(shown).toContain('looking at files of layers 2 of 5');
  expect(shown.endsWith('\r\x1b[K')).toBe(true);
});
