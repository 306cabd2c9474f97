import { nearestName } from '../../platform/config-settings.ts';
import type { Stage } from '../dockerfile/parse.ts';
import { BuildFailure } from '../failure.ts';

const MAX_SHOWN = 20;
const MAX_NAME = 100;

/** The failure to get an image that somebody may have meant as a stage: its hint says which stages there are. */
export function meantAsStage(error: unknown, name: string, above: readonly Stage[]): unknown {
  const names = above.flatMap(({ from }) => from.name ?? []).filter(({ length }) => length <= MAX_NAME);
  if (!(error instanceof BuildFailure) || error.class === 'internal' || /[/:@]/.test(name) || names.length === 0) {
    return error;
  }
  const shown = names.slice(-MAX_SHOWN);
  const near = nearestName(name, shown);
  const meant = near === undefined ? `Those above are ${shown.join(', ')}.` : `Did you mean ${near}?`;
  const { class: failureClass, code, step, retryable } = error;
  return new BuildFailure(error.message, {
    ...{ class: failureClass, code, step, retryable },
    hint: `No stage above is called ${name}, so that it is taken for an image. ${meant}`,
    cause: error,
  });
}
