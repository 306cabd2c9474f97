import { type HintRule, hint, installLine } from './hint-rule.ts';

export const PACKAGE_RULES: readonly HintRule[] = [
  {
    name: 'apt asks',
    output: /^Do you want to continue\? \[Y\/n\] (?:Abort|$)/,
    advise: hint('Nobody answers in a build: write apt-get install -y.'),
  },
  {
    name: 'apt without update',
    output: /^E: (?:Unable to locate package|Package '?)\s*['‘]?([\w.+:-]{1,100})/,
    advise: ({ groups: [, name = ''], command }) =>
      /apt(?:-get)? (?:-\S+ )*update/.test(command)
        ? {
            hint: `No package ${name} is in the sources of the base image: check its name and the release of the image.`,
          }
        : {
            hint: `The lists of packages are not in the image: write apt-get update && apt-get install -y ${name} in one RUN.`,
          },
  },
  {
    name: 'apt lists are old',
    output: /^E: Failed to fetch .{1,500} 404 +Not Found/,
    advise: hint(
      'The lists of packages are older than the mirror: write apt-get update and apt-get install in one RUN, so that the lists never come from the cache alone. An old release is only in the archive of its distribution.',
    ),
  },
  {
    name: 'apt does not trust',
    output: /NO_PUBKEY|is not signed|Release file .{1,300} (?:expired|not valid yet)/,
    advise: hint(
      'The signatures of the package source do not hold: its key is missing, the release is too old, or a clock is wrong.',
    ),
  },
  {
    name: 'apk does not know',
    output: /ERROR: unable to select packages|^ {2}([\w.+-]{1,100}) \(no such package\)/,
    advise: hint(
      'Alpine has no package of this name: look for it at pkgs.alpinelinux.org, where the image’s release can be chosen.',
    ),
  },
  {
    name: 'pip of the system',
    output: /externally-managed-environment/,
    advise: hint(
      'This Python belongs to the distribution: make a virtual environment (RUN python3 -m venv /venv, ENV PATH=/venv/bin:$PATH), use an image of python, or add --break-system-packages.',
    ),
  },
  {
    name: 'pip finds no version',
    output: /No matching distribution found for ([^\s;]{1,100})/,
    advise: ({ groups: [, name = 'it'] }) => ({
      hint: `There is no ${name} for this version of Python and this platform: check the name and the version, or take another base image.`,
    }),
  },
  {
    name: 'pip for another Python',
    output: /requires a different Python: (\S{1,40}) not in ['‘"]?([^'’"\n]{1,60})/,
    advise: ({ groups: [, has = '', wants = ''] }) => ({
      hint: `The package wants Python ${wants}, and the image has ${has}: take another base image or another version of the package.`,
    }),
  },
  {
    name: 'pip needs a compiler',
    output:
      /error: command ['‘"]?(?:\S{0,60}gcc|\S{0,60}g\+\+|cc|c\+\+|clang|cl)['’"]? failed|unable to execute ['‘"]?\S{0,60}(?:gcc|cc|g\+\+)|fatal error: (Python)\.h|Unknown compiler\(s\)|No CMAKE_CXX?_COMPILER could be found/,
    advise: ({ installer, groups: [, header = ''] }) => ({
      hint: `A package is built from source and ${header === '' ? 'has no compiler' : 'lacks the headers of Python'}: ${installLine(
        installer,
        { apt: 'build-essential python3-dev', apk: 'build-base python3-dev', dnf: 'gcc gcc-c++ python3-devel' }[
          installer
        ],
      )} before, or choose a version that has a wheel for this platform.`,
    }),
  },
  {
    name: 'headers are missing',
    output: /fatal error: ([\w./+-]{1,100}): No such file or directory/,
    advise: ({ groups: [, header = ''] }) => ({
      hint: `The header ${header} is missing: install the development package (-dev or -devel) of its library before.`,
    }),
  },
  {
    name: 'pip finds no file',
    output: /Could not open requirements file: .{0,40}No such file or directory: ['"]?([^'"\n]{1,200})/,
    advise: ({ groups: [, file = 'the file'] }) => ({
      hint: `${file} is not in the image at this step: COPY it before, and look at WORKDIR.`,
    }),
  },
  {
    name: 'npm peers',
    output: /npm (?:ERR!|error) .{0,20}ERESOLVE/,
    advise: hint(
      'The packages want different versions of a third one: put them right in package.json, or run npm with --legacy-peer-deps.',
    ),
  },
  {
    name: 'npm without package.json',
    output: /npm (?:ERR!|error) .{0,80}(?:package\.json|Could not read package)/,
    advise: hint('There is no package.json in the working directory: COPY it before, and look at WORKDIR.'),
  },
  {
    name: 'npm ci without a lock',
    output: /The `npm ci` command can only install|npm ci.{0,80}package-lock/,
    advise: hint(
      'npm ci needs a package-lock.json that fits package.json: COPY both, or run npm install once and keep what it writes.',
    ),
  },
  {
    name: 'npm knows no package',
    output: /npm (?:ERR!|error) (?:code )?(?:E404|404 Not Found)|ERR_PNPM_FETCH_404/,
    advise: hint('The registry of npm has no such package or version, or does not show it without credentials.'),
  },
  {
    name: 'npm knows no script',
    output: /Missing script: "?([^"\n]{1,100})/,
    advise: ({ groups: [, script = ''] }) => ({ hint: `package.json has no script ${script.trim()}.` }),
  },
  {
    name: 'npm builds natively',
    output: /gyp ERR! (?:find Python|stack Error: .{0,40}make|build error)|gyp ERR! not ok/,
    advise: ({ installer }) => ({
      hint: `A package of npm is built from source: ${installLine(
        installer,
        { apt: 'python3 make g++', apk: 'python3 make g++', dnf: 'python3 make gcc-c++' }[installer],
      )} before.`,
    }),
  },
];
