import { type HintRule, hint } from './hint-rule.ts';

export const FILE_RULES: readonly HintRule[] = [
  {
    name: 'secret',
    output:
      /\/run\/secrets\/([\w.-]{1,100})['’"]?:? .{0,40}[Nn]o such file|[Nn]o such file[^/]{0,60}\/run\/secrets\/([\w.-]{1,100})/,
    advise: ({ groups: [, first = '', second = ''] }) => ({
      hint: `The step has no secret ${first || second}: it needs --mount=type=secret,id=${first || second}, and the build a value of this id in its secrets.`,
    }),
  },
  {
    name: 'no such file',
    output:
      /(?:can't open file ['"]?|cannot stat ['‘"]?|cannot access ['‘"]?|can't cd to |No such file or directory: ['"])([^\s'’":,]{1,200})|(?:^|\s)['‘"]?([\w./-]{1,200})['’"]?: [Nn]o such file\b/,
    advise: ({ groups: [, first = '', second = ''] }) => ({
      hint: `${first || second} is not in the image at this step: COPY it before, look at WORKDIR, and at what .dockerignore leaves out.`,
    }),
  },
  {
    name: 'python module',
    output: /ModuleNotFoundError: No module named ['"]([\w.]{1,100})/,
    advise: ({ groups: [, name = ''] }) => ({
      hint: `The Python module ${name} is not installed for the Python that runs: RUN python -m pip install it before, or COPY it when it is one of your own.`,
    }),
  },
  {
    name: 'node module',
    output: /Cannot find module ['"]([^'"\n]{1,200})/,
    advise: ({ groups: [, name = ''] }) => ({
      hint: `The module ${name} is not there: RUN npm ci before, or COPY it when it is one of your own (node_modules may be in .dockerignore).`,
    }),
  },
  {
    name: 'read-only',
    output: /Read-only file system/,
    advise: hint(
      'It writes to a place that is mounted read-only in this step: add rw to the --mount, or write elsewhere.',
    ),
  },
  {
    name: 'permission',
    output: /: Permission denied$|PermissionError: /,
    advise: hint(
      'The user of the step may not do that: do it before USER, COPY with --chown, or write USER root before and the other user again behind it.',
    ),
  },
];
