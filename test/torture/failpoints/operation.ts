import type { Failpoint } from '../../../packages/server/src/platform/failpoint-names.ts';
import type { World } from './world.ts';

/** Lets the server be killed while it does something, and starts it again. */
export interface Strike {
  /** What `act` was answered; undefined where the server was killed before that. */
  <T>(act: () => Promise<T>): Promise<T | undefined>;
  /** Kills the server at any moment now, and the next one as it starts; a third one serves then. */
  atStart(): Promise<void>;
}

/**
 * Does something that passes a failpoint, within a strike, and looks whether the promises hold. Where it says that something was not answered, it
 * may be done or not; it is never half done. Done once more without a strike, everything is answered.
 */
export type Operation = (world: World, strike: Strike) => Promise<void>;

export type Operations = Partial<Record<Failpoint, Operation | Chosen>>;

/** One that passes the failpoint several times. */
export interface Chosen {
  operation: Operation;
  /** The pass at which the server is killed, from 1. */
  pass: number;
}

export const atPass = (pass: number, operation: Operation): Chosen => ({ operation, pass });
