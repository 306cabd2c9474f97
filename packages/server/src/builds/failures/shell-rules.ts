import { type FoundCause, type HintRule, hint, installLine } from './hint-rule.ts';
import { otherWay, packageOf } from './known-programs.ts';

const OTHER_INSTALLERS: ReadonlyMap<string, string> = new Map([
  ['apt-get', 'the base image is not Debian or Ubuntu'],
  ['apt', 'the base image is not Debian or Ubuntu'],
  ['apk', 'the base image is not Alpine'],
  ['dnf', 'the base image is not Fedora or RHEL'],
  ['yum', 'the base image is not Fedora or RHEL'],
]);

function notFound({ groups, installer }: FoundCause) {
  const [, name = ''] = groups;
  if (name.includes('/')) {
    return {
      hint: `${name} is not in the image at this step, or the interpreter in its first line is not (a script with Windows line ends looks for one that nobody has). COPY it before, and check its line ends.`,
    };
  }
  const other = OTHER_INSTALLERS.get(name);
  if (other !== undefined)
    return { hint: `There is no ${name}: ${other}. Install with what the image has, or take another base image.` };
  const way = otherWay(name);
  if (way !== undefined) return { hint: `${name} is not in the image. ${way}` };
  const packages = packageOf(name, installer);
  if (packages === undefined) {
    return {
      hint: `${name} is not in the image or not on its PATH: check the name, and install it in a step before this one.`,
    };
  }
  return { hint: `${name} is not in the image. Install it in a step before: ${installLine(installer, packages)}` };
}

export const SHELL_RULES: readonly HintRule[] = [
  {
    name: 'source is of bash',
    output: /\bsource: not found/,
    advise: hint('`source` is of bash, and RUN uses /bin/sh: write `. file`, or SHELL ["/bin/bash", "-c"] before it.'),
  },
  {
    name: 'pipefail is of bash',
    output: /Illegal option -o pipefail/,
    advise: hint(
      'RUN uses /bin/sh, which does not know `set -o pipefail` here: write SHELL ["/bin/bash", "-o", "pipefail", "-c"] before it.',
    ),
  },
  {
    name: 'syntax of bash',
    output: /: (?:Bad substitution|\[\[: not found|Syntax error: (?:"\(" unexpected|redirection unexpected))/,
    advise: hint('This is the syntax of bash, and RUN uses /bin/sh: write SHELL ["/bin/bash", "-c"] before it.'),
  },
  {
    name: 'another processor',
    output: /exec format error|cannot execute binary file|rosetta error|qemu-\S+: Could not open/i,
    advise: hint(
      'The program is for another processor than this server has, or a script without a first line like #!/bin/sh. Take files and images for this platform, and leave out --platform.',
    ),
  },
  {
    name: 'command not found, by env',
    exitCodes: [127],
    output: /\benv: .?['‘`]?([\w.+/-]{1,100})['’`]?: No such file or directory/,
    advise: notFound,
  },
  {
    name: 'command not found',
    exitCodes: [127],
    output: /(?:^|[\s:])['‘`"]?([\w.+/-]{1,100})['’`"]?: (?:command )?not found/,
    advise: notFound,
  },
  {
    name: 'command not found, by the runtime',
    exitCodes: [127],
    output: /executable file ['‘`"]?([\w.+/-]{1,100})['’`"]?:? not found/,
    advise: notFound,
  },
  {
    name: 'exit code 127',
    exitCodes: [127],
    advise: hint('127 means that a program was not found: check its name, and install it in a step before this one.'),
  },
  {
    name: 'may not be executed',
    exitCodes: [126],
    output: /(?:^|[\s:])['‘`"]?([\w.+/-]{1,200})['’`"]?: Permission denied/,
    advise: ({ groups: [, file = 'The file'] }) => ({
      hint: `${file} may not be executed: COPY --chmod=755 it, or RUN chmod +x before.`,
    }),
  },
  {
    name: 'exit code 126',
    exitCodes: [126],
    advise: hint(
      '126 means that the file was found and may not be executed: COPY --chmod=755 it, or RUN chmod +x before.',
    ),
  },
];
