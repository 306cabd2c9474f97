import { DarkroomError } from '../../platform/errors.ts';
import { BuildFailure, type FailureClass } from '../failure.ts';
import type { LogLine } from '../logs/build-log.ts';
import { FILE_RULES } from './file-rules.ts';
import type { Advice, HintRule, Installer } from './hint-rule.ts';
import { LIMIT_RULES } from './limit-rules.ts';
import { NETWORK_RULES } from './network-rules.ts';
import { PACKAGE_RULES } from './package-rules.ts';
import { SANDBOX_RULES } from './sandbox-rules.ts';
import { SHELL_RULES } from './shell-rules.ts';

export interface FailureContext {
  /** The last lines of what the step wrote, oldest first. */
  tail: readonly Pick<LogLine, 'text'>[];
  dockerfile?: string | undefined;
}

/** Causes before their consequences: who cannot reach the mirror does not find the package either. */
const RULES: readonly HintRule[] = [
  ...SANDBOX_RULES.filter(({ name }) => name !== 'not root'),
  ...NETWORK_RULES,
  ...PACKAGE_RULES,
  ...LIMIT_RULES.filter(({ output }) => output !== undefined),
  ...SHELL_RULES,
  ...LIMIT_RULES.filter(({ output }) => output === undefined),
  ...SANDBOX_RULES.filter(({ name }) => name === 'not root'),
  ...FILE_RULES,
];
/** What is said last counts most: programs say much that they get over. */
const WINDOWS = [12, 50];
const LINE_CHARACTERS = 1_000;

/** What was raised, as the failure of a build; one of a command gets a hint, a class and a verdict from what it wrote. */
export function explain(raised: unknown, context: FailureContext): BuildFailure {
  const failure = asFailure(raised);
  const advice = failure.hint === undefined ? adviceFor(failure, context) : undefined;
  if (advice === undefined) return failure;
  return new BuildFailure(failure.message, {
    class: advice.class ?? failure.class,
    code: advice.code ?? failure.code,
    step: failure.step,
    hint: advice.hint,
    retryable: advice.retryable ?? failure.retryable,
    cause: failure.cause,
  });
}

function adviceFor({ step, class: kind }: BuildFailure, { tail, dockerfile = '' }: FailureContext): Advice | undefined {
  if (step?.exitCode === undefined || step.exitCode === 0 || kind !== 'user') return undefined;
  const { exitCode } = step;
  const command = `${step.text}\n${step.command ?? ''}`;
  const lines = tail
    .map(({ text }) => text.slice(0, LINE_CHARACTERS))
    .filter((text) => text.trim() !== '')
    .reverse();
  const installer = installerOf(dockerfile, command);
  for (const window of WINDOWS) {
    for (const rule of RULES) {
      const groups = matches(rule, { exitCode, command, lines: lines.slice(0, window) });
      const advice = groups && rule.advise({ command, exitCode, groups, installer });
      if (advice !== undefined) return advice;
    }
  }
  return undefined;
}

function matches(
  { exitCodes, command: pattern, output }: HintRule,
  { exitCode, command, lines }: { exitCode: number; command: string; lines: readonly string[] },
): string[] | undefined {
  if (exitCodes !== undefined && !exitCodes.includes(exitCode)) return undefined;
  if (pattern !== undefined && !pattern.test(command)) return undefined;
  if (output === undefined) return [];
  for (const line of lines) {
    const found = output.exec(line);
    if (found !== null) return found.map((group: string | undefined) => group ?? '');
  }
  return undefined;
}

function installerOf(dockerfile: string, command: string): Installer {
  const text = `${dockerfile}\n${command}`;
  if (/^\s*FROM\s.{0,200}alpine|\bapk (?:add|update)\b/im.test(text)) return 'apk';
  return /^\s*FROM\s.{0,200}(?:fedora|centos|rockylinux|almalinux|amazonlinux|ubi\d)|\b(?:dnf|yum) install\b/im.test(
    text,
  )
    ? 'dnf'
    : 'apt';
}

function asFailure(raised: unknown): BuildFailure {
  if (raised instanceof BuildFailure) return raised;
  if (raised instanceof DarkroomError && raised.isUserError) {
    const { message, code, hint, retryable } = raised;
    return new BuildFailure(message, { class: CLASSES[code] ?? 'user', code, hint, retryable, cause: raised });
  }
  return new BuildFailure('The server failed while it built this', {
    class: 'internal',
    code: 'internal',
    hint: 'The log of the server says why.',
    retryable: true,
    cause: raised,
  });
}

const CLASSES: Readonly<Partial<Record<DarkroomError['code'], FailureClass>>> = {
  insufficient_storage: 'internal',
  payload_too_large: 'limit_exceeded',
  quota_exceeded: 'limit_exceeded',
  rate_limited: 'rate_limit',
  timeout: 'limit_exceeded',
  unauthenticated: 'registry_auth',
  unavailable: 'network',
};
