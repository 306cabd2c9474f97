import { Session } from 'node:inspector/promises';

/** Counts how often blocks of the sources are entered: the same each time, on any machine. */
export async function createWorkCounter(sources: RegExp) {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const take = async () => {
    const { result } = await session.post('Profiler.takePreciseCoverage');
    return result
      .filter(({ url }) => sources.test(url))
      .flatMap(({ functions }) => functions.flatMap((each) => each.ranges))
      .reduce((total, { count }) => total + count, 0);
  };
  return {
    async count(run: () => void): Promise<number> {
      await take();
      run();
      const work = await take();
      if (work === 0) throw new Error('none of the sources was run');
      return work;
    },
    close: () => session.disconnect(),
  };
}
