import { posix } from 'node:path';
import type { ImageConfig } from '../../images/types.ts';
import type { EscapeChar } from './directives.ts';
import { sharedWork } from './expansion-budget.ts';
import type { Command, Healthcheck } from './instructions.ts';
import type { StageInstruction } from './parse.ts';
import { declareArgs, type GivenValues, type Scope, setEnv, word, words } from './scope.ts';
import { stopSignal } from './stop-signal.ts';
import { syntaxError } from './syntax-error.ts';

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Of one instruction. */
const MAX_CHARS = 2 * 1024 * 1024;
const DEFAULT_SHELL = ['/bin/sh', '-c'];

/** A check of health as the image config has it; durations in nanoseconds. */
export type HealthConfig = Pick<Healthcheck, 'interval' | 'timeout' | 'startPeriod' | 'startInterval' | 'retries'> & {
  /** `NONE`, `CMD` and the arguments, or `CMD-SHELL` and the line. */
  test: string[];
};

/** What an image in the making has besides its files. A value: each instruction gives the next one. */
export interface StageState {
  config: ImageConfig;
  scope: Scope;
  shell: readonly string[];
  healthcheck: HealthConfig | undefined;
  /** For whoever builds from this image. */
  onbuild: readonly string[];
  author: string | undefined;
  /** A CMD of this stage, which an ENTRYPOINT behind it leaves alone; one of the base goes. */
  hasOwnCmd: boolean;
}

export interface StageStart {
  config: ImageConfig;
  escapeChar: EscapeChar;
  shell?: readonly string[] | undefined;
  healthcheck?: HealthConfig | undefined;
}

/** At the beginning of a stage: what its base has. ONBUILD triggers of the base are carried out, not inherited. */
export function beginStage({ config, escapeChar, shell, healthcheck }: StageStart): StageState {
  const env = new Map(config.env.map(splitEntry));
  if (!env.has('PATH')) env.set('PATH', DEFAULT_PATH);
  return {
    config: { ...config, env: entriesOf(env) },
    scope: { escapeChar, env, args: new Map(), work: sharedWork() },
    shell: shell ?? DEFAULT_SHELL,
    healthcheck,
    onbuild: [],
    author: undefined,
    hasOwnCmd: false,
  };
}

/** Instructions that change files change nothing here: their parts are expanded where they are carried out. */
export function applyInstruction(state: StageState, instruction: StageInstruction, given: GivenValues): StageState {
  const { line } = instruction;
  let chars = 0;
  const expand = (text: string) => {
    const expanded = word(state.scope, line, text);
    chars += expanded.length;
    if (chars <= MAX_CHARS) return expanded;
    throw syntaxError(line, `with its variables replaced it is longer than ${MAX_CHARS} characters`);
  };
  const withConfig = (config: Partial<ImageConfig>): StageState => ({
    ...state,
    config: { ...state.config, ...config },
  });
  switch (instruction.kind) {
    case 'arg':
      return { ...state, scope: declareArgs(state.scope, [instruction], given) };
    case 'env': {
      const scope = setEnv(
        state.scope,
        line,
        instruction.pairs.map(({ name, value }) => [expand(name), expand(value)] as const),
      );
      return { ...withConfig({ env: entriesOf(scope.env) }), scope };
    }
    case 'label': {
      const added = instruction.pairs.map(({ name, value }) => [expand(name), expand(value)] as const);
      return withConfig({ labels: { ...state.config.labels, ...Object.fromEntries(added) } });
    }
    case 'workdir':
      return withConfig({ workingDir: posix.resolve('/', state.config.workingDir, expand(instruction.path)) });
    case 'user':
      return withConfig({ user: expand(instruction.user) });
    case 'cmd':
      return { ...withConfig({ cmd: argvOf(state, instruction.command) }), hasOwnCmd: true };
    case 'entrypoint':
      return withConfig({
        entrypoint: argvOf(state, instruction.command),
        cmd: state.hasOwnCmd ? state.config.cmd : [],
      });
    case 'expose': {
      const ports = new Set(state.config.exposedPorts);
      let left = MAX_PORTS;
      for (const port of instruction.ports.flatMap((text) => words(state.scope, line, text))) {
        const { low, high, protocol } = portsOf(port, line);
        left -= high - low + 1;
        if (left < 0) throw syntaxError(line, `EXPOSE has more than ${MAX_PORTS} ports`);
        for (let number = low; number <= high; number += 1) ports.add(`${number}/${protocol}`);
      }
      return withConfig({ exposedPorts: [...ports] });
    }
    case 'volume':
      return withConfig({ volumes: [...new Set([...state.config.volumes, ...instruction.paths.map(expand)])] });
    case 'stopsignal':
      return withConfig({ stopSignal: stopSignal(expand(instruction.signal), line) });
    case 'shell':
      return { ...state, shell: instruction.argv };
    case 'healthcheck':
      return { ...state, healthcheck: healthOf(instruction) };
    case 'onbuild':
      return { ...state, onbuild: [...state.onbuild, instruction.trigger] };
    case 'maintainer':
      return { ...state, author: instruction.name };
    case 'run':
    case 'copy':
    case 'add':
      return state;
  }
}

/** The program of a command: the shell form goes to the shell that SHELL names. */
export function argvOf(state: Pick<StageState, 'shell'>, command: Command): string[] {
  return command.form === 'exec' ? [...command.argv] : [...state.shell, command.script];
}

/** What `docker run` publishes it on may stand before it, and says nothing here: `127.0.0.1:8080:80/tcp`. */
const PUBLISHED = /^(?:(?:(?:\d+\.){3}\d+|\[[\da-f:]+\]):)?(?:\d{1,5}(?:-\d{1,5})?)?:/;
const PORT = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/;

const MAX_PORTS = 20_000;

function portsOf(text: string, line: number): { low: number; high: number; protocol: string } {
  const [, first, last, protocol] = PORT.exec(text.toLowerCase().replace(PUBLISHED, '')) ?? [];
  const low = Number(first);
  const high = Number(last ?? first);
  if (first === undefined || low > high || high > 65_535) throw syntaxError(line, `invalid containerPort: ${text}`);
  return { low, high, protocol: protocol ?? 'tcp' };
}

function healthOf({ command, interval, timeout, startPeriod, startInterval, retries }: Healthcheck): HealthConfig {
  const test =
    command === undefined
      ? ['NONE']
      : command.form === 'exec'
        ? ['CMD', ...command.argv]
        : ['CMD-SHELL', command.script];
  return { test, interval, timeout, startPeriod, startInterval, retries };
}

function splitEntry(entry: string): [string, string] {
  const equals = entry.indexOf('=');
  return equals === -1 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
}

function entriesOf(env: ReadonlyMap<string, string>): string[] {
  return [...env].map(([name, value]) => `${name}=${value}`);
}
