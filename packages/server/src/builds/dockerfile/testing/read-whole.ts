import { DarkroomError } from '../../../platform/errors.ts';
import { type Dockerfile, parseDockerfile } from '../parse.ts';
import { planBuild } from '../plan.ts';
import { content, words } from '../scope.ts';
import { applyInstruction, beginStage, type StageState } from '../stage-state.ts';

const BASE = {
  env: ['PATH=/bin', 'LONG=a.b.c'],
  entrypoint: [],
  cmd: [],
  workingDir: '/',
  user: '',
  labels: {},
  exposedPorts: [],
  volumes: [],
  stopSignal: undefined,
};

/**
 * All that is done with a text before anything of it is carried out. Undefined when it is refused as one that cannot be built, with a line
 * that it has; every other way of failing is raised.
 */
export function readWhole(text: string): { dockerfile: Dockerfile; last: StageState | undefined } | undefined {
  try {
    const dockerfile = parseDockerfile(text);
    const lines = lineCount(text);
    const { stages, given } = planBuild(dockerfile, {
      platform: { os: 'linux', architecture: 'amd64' },
      buildArgs: new Map([['GIVEN', 'value']]),
    });
    let last: StageState | undefined;
    for (const { stage } of stages) {
      let state = beginStage({ config: BASE, escapeChar: dockerfile.directives.escapeChar });
      for (const instruction of stage.instructions) {
        if (instruction.line < 1 || instruction.line > lines) throw new Error(`line ${instruction.line} of ${lines}`);
        if (instruction.kind === 'copy' || instruction.kind === 'add') {
          for (const source of instruction.sources) words(state.scope, instruction.line, source);
          for (const heredoc of instruction.heredocs)
            if (heredoc.expand) content(state.scope, instruction.line, heredoc.content);
        }
        state = applyInstruction(state, instruction, given);
      }
      last = state;
    }
    return { dockerfile, last };
  } catch (error) {
    if (!(error instanceof DarkroomError) || error.code !== 'invalid_request') throw error;
    const { line } = error.details;
    if (typeof line !== 'number' || line < 1 || line > lineCount(text))
      throw new Error(`no line of the text: ${String(line)}`, { cause: error });
    if (error.message.length > 2000) throw new Error('the message is as long as the text', { cause: error });
    return undefined;
  }
}

export function lineCount(text: string): number {
  return text.split('\n').length;
}
