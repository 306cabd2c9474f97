import { afterAll, beforeAll, expect, test } from 'vitest';
import { litterOf } from '../support/litter.ts';
import { operationAt, UNTOLD } from './failpoints/all-operations.ts';
import { chosenPoints } from './failpoints/chosen.ts';
import { clear, expectNothingLeft, makeBase } from './failpoints/leftovers.ts';
import { calm, strikeAt } from './failpoints/strike.ts';
import { openWorld, type World } from './failpoints/world.ts';

/**
 * kill -9 at a failpoint, and a restart: what was acknowledged is there, byte by byte; what was not is there as a whole, or not, or says why;
 * nothing is left over; and the same works afterwards. A few of them; all with `npm run torture -- --failpoints`.
 */
const points = chosenPoints(process.env.TORTURE_FAILPOINTS);
let world: World;

beforeAll(async () => {
  world = await openWorld();
  await makeBase(world);
});

afterAll(() => world?.close());

test('every failpoint has an operation that passes it', () => {
  expect(UNTOLD).toEqual([]);
});

test.each(points.filter((point) => !UNTOLD.includes(point)))('kill -9 at %s', async (point) => {
  const chosen = operationAt(point);
  if (chosen === undefined) throw new Error(`nothing passes ${point}`);
  try {
    const { strike, reached } = strikeAt(world, point, chosen.pass);
    await timed('struck', chosen.operation(world, strike));
    expect(reached(), `${point} was passed`).toBe(true);
    await timed('calm', chosen.operation(world, calm(world)));
    await timed('cleared', clear(world));
    await timed('looked', expectNothingLeft(world));
  } catch (error) {
    if (process.env.TORTURE_VERBOSE) console.log(`${world.log}\n${world.darkroom.output()}`);
    // The others do not suffer from it.
    await world.arm('');
    await world.darkroom.restart();
    await clear(world).catch(() => {});
    throw error;
  }
});

test('a server that ends leaves nothing of its predecessors on the machine', async () => {
  await world.darkroom.stop();
  const nothing = { mounts: [], contained: [], helpers: [], interfaces: [], cgroups: [] };
  expect(await litterOf(world.darkroom.stateDir)).toEqual(nothing);
});

async function timed(what: string, work: Promise<unknown>): Promise<void> {
  const since = performance.now();
  await work;
  if (process.env.TORTURE_VERBOSE) console.log(`${what} in ${Math.round(performance.now() - since)} ms`);
}
