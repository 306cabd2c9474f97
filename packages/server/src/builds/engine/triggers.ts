import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import type { StageInstruction } from '../dockerfile/parse.ts';
import { readInstruction } from '../dockerfile/read-instruction.ts';
import { readStatements } from '../dockerfile/statements.ts';

/** An instruction that a base left for whoever builds from it. */
export interface Trigger {
  instruction: StageInstruction;
  /** `ONBUILD RUN make`. */
  text: string;
}

/** An image may say anything here. */
const MAX_TRIGGERS = 200;

/** The ONBUILD triggers of a base, as instructions of the line that names the base. Raises `invalid_request`, with the trigger. */
export function readTriggers(texts: readonly string[], line: number): Trigger[] {
  if (texts.length > MAX_TRIGGERS) {
    throw invalidRequest(
      `Dockerfile line ${line}: the base has ${texts.length} ONBUILD triggers, more than ${MAX_TRIGGERS}`,
    );
  }
  return texts.flatMap((text) => {
    const named = `ONBUILD ${text}`;
    try {
      const { statements } = readStatements(text);
      return statements.map((statement) => {
        const instruction = readInstruction({ ...statement, line }, '\\');
        if (instruction.kind === 'from' || instruction.kind === 'onbuild' || instruction.kind === 'maintainer') {
          throw invalidRequest(`${instruction.kind.toUpperCase()} isn't allowed as an ONBUILD trigger`);
        }
        return { instruction, text: named };
      });
    } catch (error) {
      if (!(error instanceof DarkroomError)) throw error;
      const why = error.message.replace(/^Dockerfile line \d+: /, '');
      throw invalidRequest(
        `Dockerfile line ${line}: the base's trigger ${JSON.stringify(named.slice(0, 200))}: ${why}`,
        {
          cause: error,
          ...(error.hint === undefined ? {} : { hint: error.hint }),
        },
      );
    }
  });
}
