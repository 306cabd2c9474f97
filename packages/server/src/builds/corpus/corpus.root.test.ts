import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compared } from './testing/describe-image.ts';
import { type OurImages, openOurImages } from './testing/our-images.ts';
import { keyOf, readCases } from './testing/read-cases.ts';
import { readRecorded } from './testing/recorded.ts';

const recorded = readRecorded();
const CASES = readCases();
const BUILT = CASES.filter(({ says, why }) => says === undefined && why === undefined);
const BUILT_HERE = CASES.filter(({ says, why }) => says === undefined && why !== undefined);
const REFUSED = CASES.filter(({ says }) => says !== undefined);

let ours: OurImages;
beforeAll(async () => {
  ours = await openOurImages();
}, 60_000);
afterAll(() => ours?.close());

describe('what is built is what BuildKit makes', () => {
  test.each(BUILT)('$area: $name', async (each) => {
    const theirs = recorded[keyOf(each)];
    if (theirs === undefined) throw new Error('it is not recorded yet');
    expect(compared(await ours.build(each), each)).toEqual(compared(theirs, each));
  });
});

describe('what BuildKit does not build is built for a reason', () => {
  test.each(BUILT_HERE)('$name: $why', async (each) => {
    await expect(ours.build(each)).resolves.toBeDefined();
  });
});

describe('what BuildKit does not build is refused, and some more', () => {
  test.each(REFUSED)('$name', async (each) => {
    expect(await ours.refusal(each)).toMatch(each.says ?? '');
  });
});
