import { setTimeout as sleep } from 'node:timers/promises';
import type { Failpoint } from '../../../packages/server/src/platform/failpoint-names.ts';
import { answerOf } from './asks.ts';
import type { Strike } from './operation.ts';
import type { World } from './world.ts';

/** Some pass by themselves, a while after they are armed. */
const REACHED_MS = 30_000;

/** A strike at the failpoint. `reached` tells whether there was one. */
export function strikeAt(world: World, point: Failpoint, pass: number): { strike: Strike; reached: () => boolean } {
  const { darkroom } = world;
  let isReached = false;
  const armed = `${point}=kill@${pass}`;

  function noteKill(output: string): void {
    if (!output.includes(`failpoint ${point}: killed`)) {
      throw new Error(`the server ended, and not at ${point}:\n${output.slice(-4000)}`);
    }
    isReached = true;
  }

  const strike = async <T>(act: () => Promise<T>): Promise<T | undefined> => {
    const { ended } = darkroom;
    await world.arm(armed);
    const answer = await answerOf(act());
    const isDead = await Promise.race([ended.then(() => true), sleep(REACHED_MS, false, { ref: false })]);
    await world.arm('');
    if (!isDead) throw new Error(`${point} was not passed`);
    noteKill(darkroom.output());
    await darkroom.restart();
    return answer;
  };
  strike.atStart = async () => {
    await darkroom.kill();
    await world.arm(armed);
    const words = await darkroom.restart().then(
      () => '',
      (error: unknown) => String(error),
    );
    await world.arm('');
    noteKill(words);
    await darkroom.restart();
  };
  return { strike, reached: () => isReached };
}

/** Nothing happens to the server. */
export function calm({ darkroom }: World): Strike {
  const strike = <T>(act: () => Promise<T>): Promise<T | undefined> => act();
  strike.atStart = async () => {
    await darkroom.kill();
    await darkroom.restart();
  };
  return strike;
}
