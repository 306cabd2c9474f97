import fc from 'fast-check';

/** Something that holds for every input, which a test looks at for some and `scripts/fuzz.ts` for as many as there is time for. */
export interface Property {
  name: string;
  /** Cases in CI. */
  runs: number;
  check: fc.IRawProperty<unknown>;
}

export async function holds(
  { check, runs }: Property,
  options: { seed?: number; milliseconds?: number } = {},
): Promise<void> {
  const { seed, milliseconds } = options;
  const long =
    milliseconds === undefined ? {} : { interruptAfterTimeLimit: milliseconds, markInterruptAsFailure: false };
  await fc.assert(check, {
    numRuns: milliseconds === undefined ? runs : 1_000_000_000,
    ...long,
    ...(seed === undefined ? {} : { seed }),
  });
}
