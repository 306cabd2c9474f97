import { hasFailure, type LoadConfigOptions, loadConfig, probeMachine, renderProbe } from '@darkroom/server/machine';
import { EXIT_FAILURE } from './report-error.ts';

/** `darkroom doctor`: the table of `up`, without starting anything. */
export async function doctor(options: LoadConfigOptions & { json: boolean }): Promise<number> {
  const rows = await probeMachine(loadConfig(options));
  const text = options.json ? JSON.stringify(rows, null, 2) : renderProbe(rows, { color: hasColor() });
  process.stdout.write(`${text}\n`);
  return hasFailure(rows) ? EXIT_FAILURE : 0;
}

/** Knows NO_COLOR and FORCE_COLOR; a pipe has no such method. */
export function hasColor(): boolean {
  return process.stdout.isTTY === true && process.stdout.hasColors();
}
