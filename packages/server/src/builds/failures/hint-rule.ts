import type { ErrorCode } from '@darkroom/contract/error-codes';
import type { FailureClass } from '../failure.ts';

/** A common way for a command to fail, and what to do about it. All conditions that are given must hold. */
export interface HintRule {
  name: string;
  exitCodes?: readonly number[];
  command?: RegExp;
  /** Some of the last lines matches; the newest one counts. Must take linear time: the lines are hostile. */
  output?: RegExp;
  advise(found: FoundCause): Advice | undefined;
}

export interface FoundCause {
  command: string;
  exitCode: number;
  /** The groups of `output`; the whole match is the first. Empty strings where nothing matched. */
  groups: readonly string[];
  /** What installs programs in the image, as far as the Dockerfile tells. */
  installer: Installer;
}

export type Installer = 'apt' | 'apk' | 'dnf';

export interface Advice {
  hint: string;
  class?: FailureClass;
  code?: ErrorCode;
  retryable?: boolean;
}

const INSTALL: Readonly<Record<Installer, string>> = {
  apt: 'RUN apt-get update && apt-get install -y',
  apk: 'RUN apk add --no-cache',
  dnf: 'RUN dnf install -y',
};

export const installLine = (installer: Installer, packages: string) => `${INSTALL[installer]} ${packages}`;

export const hint =
  (text: string, more: Omit<Advice, 'hint'> = {}) =>
  (): Advice => ({ hint: text, ...more });
