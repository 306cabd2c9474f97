import type { TransferCase } from './transfer-cases.ts';

/** The directory of a case in an image of all of them. */
export function caseDirectory(index: number): string {
  return `/c${String(index).padStart(2, '0')}`;
}

export function caseText(text: string, index: number): string {
  return text.replaceAll('@', caseDirectory(index));
}

/**
 * One Dockerfile for many cases: each in a directory of its own that is filled as the base first; or at once, by an archive of all of those
 * directories.
 */
export function oracleDockerfile(cases: readonly { index: number; text: string }[], allBases?: string): string {
  const blocks = cases.flatMap(({ index, text }) => [
    ...(allBases === undefined ? [`ADD .fixture/base.tar ${caseDirectory(index)}/`] : []),
    `WORKDIR ${caseDirectory(index)}/work`,
    caseText(text, index),
  ]);
  return [
    'FROM scratch AS other',
    'ADD .fixture/other.tar /',
    'FROM scratch',
    'ADD .fixture/accounts.tar /',
    ...(allBases === undefined ? [] : [`ADD ${allBases} /`]),
    ...blocks,
    '',
  ].join('\n');
}

export function indexed(cases: readonly TransferCase[]) {
  return cases.map((each, index) => ({ ...each, index }));
}
