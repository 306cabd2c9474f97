import type { Heredoc } from './heredoc.ts';

/**
 * The instructions of a Dockerfile. Texts are as they are written: what is a word is expanded when the instruction is carried
 * out, with the variables of its place.
 */
export type Instruction =
  | From
  | Arg
  | Env
  | Label
  | Run
  | Copy
  | Add
  | Workdir
  | User
  | Shell
  | Entrypoint
  | Cmd
  | Expose
  | Volume
  | StopSignal
  | Healthcheck
  | OnBuild
  | Maintainer;

interface Place {
  /** Counted from 1. */
  line: number;
  /** The instruction as a person reads it, on one line or with its heredocs. */
  text: string;
}

export interface From extends Place {
  kind: 'from';
  image: string;
  platform: string | undefined;
  /** In lower case, as it is looked up. */
  name: string | undefined;
}

export interface Pair {
  name: string;
  value: string;
}

export interface Arg extends Place {
  kind: 'arg';
  args: { name: string; value: string | undefined }[];
}

export interface Env extends Place {
  kind: 'env';
  pairs: Pair[];
}

export interface Label extends Place {
  kind: 'label';
  pairs: Pair[];
}

/** `shell`: one text for the shell that SHELL names. `exec`: a program and its arguments. */
export type Command = { form: 'shell'; script: string } | { form: 'exec'; argv: string[] };

export interface Run extends Place {
  kind: 'run';
  command: Command;
  /** With heredocs only in the shell form. */
  heredocs: Heredoc[];
  mounts: RunMount[];
  network: 'default' | 'none';
}

export type RunMount = BindMount | CacheMount | TmpfsMount | SecretMount;

export interface BindMount {
  type: 'bind';
  target: string;
  /** A stage or an image; without it the build's context. */
  from: string | undefined;
  source: string;
  /** What is written is thrown away. */
  writable: boolean;
}

export interface CacheMount {
  type: 'cache';
  target: string;
  /** The target where nothing is said. */
  id: string | undefined;
  from: string | undefined;
  source: string;
  sharing: 'shared' | 'private' | 'locked';
  readonly: boolean;
  mode: number;
  uid: number;
  gid: number;
}

export interface TmpfsMount {
  type: 'tmpfs';
  target: string;
  sizeBytes: number | undefined;
}

export interface SecretMount {
  type: 'secret';
  id: string;
  /** Undefined where it is only a variable. */
  target: string | undefined;
  /** The variable that has it too. */
  env: string | undefined;
  required: boolean;
  mode: number;
  uid: number;
  gid: number;
}

export interface Transfer extends Place {
  /** As written; may be a pattern. */
  sources: string[];
  target: string;
  /** Sources whose content stands in the Dockerfile itself. */
  heredocs: Heredoc[];
  chown: string | undefined;
  chmod: string | undefined;
  link: boolean;
  exclude: string[];
}

export interface Copy extends Transfer {
  kind: 'copy';
  from: string | undefined;
  parents: boolean;
}

export interface Add extends Transfer {
  kind: 'add';
  checksum: string | undefined;
  keepGitDir: boolean;
  /** Undefined: local archives are unpacked, what came by URL is not. */
  unpack: boolean | undefined;
}

export interface Workdir extends Place {
  kind: 'workdir';
  path: string;
}

export interface User extends Place {
  kind: 'user';
  user: string;
}

export interface Shell extends Place {
  kind: 'shell';
  argv: string[];
}

export interface Entrypoint extends Place {
  kind: 'entrypoint';
  command: Command;
}

export interface Cmd extends Place {
  kind: 'cmd';
  command: Command;
}

export interface Expose extends Place {
  kind: 'expose';
  ports: string[];
}

export interface Volume extends Place {
  kind: 'volume';
  paths: string[];
}

export interface StopSignal extends Place {
  kind: 'stopsignal';
  signal: string;
}

/** Durations in nanoseconds, as the image config has them; 0 is the default of whoever runs it. */
export interface Healthcheck extends Place {
  kind: 'healthcheck';
  /** Undefined: NONE, also what the base image says. */
  command: Command | undefined;
  interval: number;
  timeout: number;
  startPeriod: number;
  startInterval: number;
  retries: number;
}

export interface OnBuild extends Place {
  kind: 'onbuild';
  /** The instruction as text: it is read where it is carried out. */
  trigger: string;
}

export interface Maintainer extends Place {
  kind: 'maintainer';
  name: string;
}
