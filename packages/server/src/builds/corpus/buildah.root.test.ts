import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BuildahImages, openBuildahImages } from './testing/buildah-images.ts';
import { compared } from './testing/describe-image.ts';
import { keyOf, readCases } from './testing/read-cases.ts';
import { readRecorded } from './testing/recorded.ts';

/** A few of each kind: what is recorded is no accident of one builder. */
const CASES = readCases().filter(({ buildah }) => buildah);
const recorded = readRecorded();

let theirs: BuildahImages;
beforeAll(async () => {
  theirs = await openBuildahImages();
}, 60_000);
afterAll(() => theirs?.close());

test.each(CASES)('buildah makes what is recorded: $area: $name', async (each) => {
  const known = recorded[keyOf(each)];
  if (known === undefined) throw new Error('it is not recorded yet');
  // Its times of directories are when it copied.
  const timeless = { ...each, untimed: 'buildah' };
  expect(compared(await theirs.build(each), timeless)).toEqual(compared(known, timeless));
});
