import type { ErrorCode } from '@darkroom/contract/error-codes';
import type { Transaction } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import type { BuildRow } from './records.ts';
import type { BuiltImage } from './types.ts';

/** What a build is for: a snapshot, or one sandbox. Its row has the state, the owner and the deadline. */
export interface BuildSubject {
  /** The word for it: `snapshot`. */
  readonly kind: string;
  readonly id: string;
  /** Whether this is a state in which a build goes on. */
  isBuilding(state: string): boolean;
  /** This process owns it from now on. Undefined when it has ended, or another living process has it. */
  take(): Promise<{ name: string } | undefined>;
  /** Its turn has come; after a wait its time counts from now on. False when it was ended meanwhile. */
  begin(options: { waited: boolean }): Promise<boolean>;
  /** One statement, with which the build has succeeded (a trigger). False when it is not this process's any more; then nothing was changed. */
  succeed(image: BuiltImage): Promise<boolean>;
  /** False as above. */
  fail(trx: Transaction<Database>, failure: { reason: string; code: ErrorCode }): Promise<boolean>;
  /** After it has succeeded. */
  onBuilt?(): void;
}

/** What a build of this row is for, where it is of the kind that is known here. */
export type FindSubject = (build: BuildRow) => BuildSubject | undefined;
