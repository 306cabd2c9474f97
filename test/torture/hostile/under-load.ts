import { expect } from 'vitest';
import { messageOf } from '../../../packages/server/src/platform/errors.ts';
import { type Darkroom, jsonOf } from '../../support/darkroom.ts';
import { eventually } from '../../support/eventually.ts';
import { type Load, startLoad, summaryOf } from './load.ts';

/** An active snapshot of the image. */
export async function addBase(darkroom: Darkroom, imageName: string, name = 'base'): Promise<void> {
  await darkroom.api('/snapshots', { method: 'POST', body: { name, imageName } });
  await eventually(`${name} is active`, async () => {
    const { state, errorReason } = await jsonOf<{ state: string; errorReason: string }>(
      darkroom.api(`/snapshots/${name}`),
    );
    if (state === 'error') throw new Error(errorReason);
    return state === 'active' ? true : undefined;
  });
}

/** What the server complained of, in short, for who looks for the cause of a failed test. */
function warningsOf(darkroom: Darkroom): string {
  const lines = darkroom.output().split('\n');
  const bad = lines.filter((line) => /"level":"(warn|error)"/.test(line) && !line.includes('"request failed"'));
  return bad
    .slice(-60)
    .map((line) => line.slice(0, 500))
    .join('\n');
}

/**
 * Does something bad to a server while clients work. Afterwards rounds must go through again, by themselves, and everything that was
 * acknowledged must be there. Each failure must have been one that the server can explain: `mayAnswer`, with a message.
 */
export async function underLoad(
  darkroom: Darkroom,
  options: { image: string; clients?: number; boundMs?: number; mayAnswer: readonly number[] },
  work: (load: Load) => Promise<void>,
): Promise<Load> {
  const load = startLoad({ darkroom, snapshot: 'base', clients: 4, ...options });
  try {
    await eventually('the load runs', async () => (load.rounds() >= 4 ? true : undefined));
    await work(load);
    const before = load.rounds();
    await eventually('rounds go through again', async () => (load.rounds() >= before + 4 ? true : undefined));
  } catch (error) {
    throw new Error(`${messageOf(error)}\n${summaryOf(load.asked)}\n${warningsOf(darkroom)}`, { cause: error });
  } finally {
    await load.stop();
  }
  if (process.env.DARKROOM_TEST_VERBOSE) console.log(summaryOf(load.asked));
  await load.check().catch((error: unknown) => {
    throw new Error(`${messageOf(error)}\n${warningsOf(darkroom)}`, { cause: error });
  });
  for (const { what, status, text, retryAfter } of load.asked) {
    if (status > 0 && status < 500) continue;
    const words = `${what} was answered with ${status}: ${text}`;
    expect(options.mayAnswer, words).toContain(status);
    expect(text, words).toContain('"message"');
    if (status === 503) expect(retryAfter, words).toMatch(/^\d+$/);
  }
  return load;
}
