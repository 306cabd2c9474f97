import { describe, expect, test } from 'vitest';
import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import { BuildFailure } from '../failure.ts';
import { explain } from './explain.ts';

function failed(options: { text?: string; exitCode?: number; output?: string; dockerfile?: string }) {
  const { text = 'RUN ./build', exitCode = 1, output = '', dockerfile } = options;
  const command = `/bin/sh -c ${text.slice(4)}`;
  const failure = new BuildFailure(`the command "${command}" ended with exit code ${exitCode}`, {
    class: 'user',
    code: 'invalid_request',
    retryable: false,
    step: { number: 2, line: 3, text, command, exitCode },
  });
  return explain(failure, { tail: output.split('\n').map((line) => ({ text: line })), dockerfile });
}

describe('a hint', () => {
  test.each<[string, Parameters<typeof failed>[0], RegExp]>([
    [
      'a program of a package',
      { exitCode: 127, output: '/bin/sh: 1: git: not found' },
      /^git is not in.*apt-get install -y git$/,
    ],
    [
      'one on Alpine',
      { exitCode: 127, output: '/bin/sh: make: not found', dockerfile: 'FROM alpine:3.20' },
      /apk add --no-cache make/,
    ],
    [
      'one of Fedora',
      { exitCode: 127, output: '/bin/sh: line 1: gcc: command not found', dockerfile: 'FROM fedora' },
      /dnf install -y gcc/,
    ],
    ['one with another name', { exitCode: 127, output: 'bash: line 1: pip: command not found' }, /python3-pip/],
    ['one that npm brings', { exitCode: 127, output: '/bin/sh: 1: yarn: not found' }, /npm install -g yarn/],
    [
      'one that nobody knows',
      { exitCode: 127, output: '/bin/sh: 1: frobnicate: not found' },
      /^frobnicate is not in the image or not on its PATH/,
    ],
    [
      'one named like a property',
      { exitCode: 127, output: '/bin/sh: 1: constructor: not found' },
      /^constructor is not/,
    ],
    [
      'a place of another user',
      { exitCode: 1, output: "touch: cannot touch '/x': Permission denied" },
      /^The user of the step may not/,
    ],
    [
      'a secret that was not given',
      { exitCode: 1, output: 'cat: /run/secrets/token: No such file or directory' },
      /^The step has no secret token: .*id=token/,
    ],
    [
      'a secret that was not given, in Python',
      { exitCode: 1, output: "FileNotFoundError: [Errno 2] No such file or directory: '/run/secrets/token'" },
      /^The step has no secret token/,
    ],
    [
      'a script that is not there',
      { exitCode: 127, output: '/bin/sh: 1: ./build.sh: not found' },
      /^\.\/build\.sh is not in the image.*line ends/,
    ],
    [
      'an interpreter that is not there',
      { exitCode: 127, output: '/usr/bin/env: ‘python’: No such file or directory' },
      /^python is not.*python3/,
    ],
    [
      'the exec form',
      { exitCode: 127, output: 'executable file `curl` not found in $PATH: No such file' },
      /install -y curl/,
    ],
    ['no words at all', { exitCode: 127 }, /program was not found/],
    ['another distribution', { exitCode: 127, output: '/bin/sh: apt-get: not found' }, /not Debian/],
    [
      'a file that may not run',
      { exitCode: 126, output: '/bin/sh: 1: ./run.sh: Permission denied' },
      /^\.\/run\.sh may not be executed: COPY --chmod=755/,
    ],
    ['126 alone', { exitCode: 126 }, /chmod \+x/],
    ['another processor', { exitCode: 126, output: '/bin/sh: 1: ./app: Exec format error' }, /another processor/],
    ['bash', { exitCode: 127, output: '/bin/sh: 1: source: not found' }, /`\. file`/],
    ['pipefail', { exitCode: 2, output: '/bin/sh: 1: set: Illegal option -o pipefail' }, /SHELL/],
    ['arrays', { exitCode: 2, output: '/bin/sh: 1: Syntax error: "(" unexpected' }, /bash/],
    [
      'apt without update',
      { exitCode: 100, text: 'RUN apt-get install -y curl', output: 'Reading…\nE: Unable to locate package curl' },
      /apt-get update && apt-get install -y curl/,
    ],
    [
      'a package that is not there',
      {
        exitCode: 100,
        text: 'RUN apt-get update && apt-get install -y crul',
        output: 'E: Unable to locate package crul',
      },
      /No package crul/,
    ],
    [
      'old lists',
      { exitCode: 100, output: 'E: Failed to fetch http://mirror.example/x.deb  404  Not Found [IP: 1.2.3.4 80]' },
      /older than the mirror/,
    ],
    ['apt that asks', { exitCode: 1, output: 'Do you want to continue? [Y/n] Abort.' }, /install -y/],
    [
      'apk',
      { exitCode: 1, output: 'ERROR: unable to select packages:\n  nope (no such package):' },
      /Alpine has no package/,
    ],
    [
      'pip',
      {
        output:
          'ERROR: Could not find a version that satisfies the requirement nmpy (from versions: none)\nERROR: No matching distribution found for nmpy\n\n[notice] A new release',
      },
      /no nmpy for this version of Python/,
    ],
    ['pip of Debian', { output: 'error: externally-managed-environment' }, /python3 -m venv/],
    ['a compiler', { output: "error: command 'gcc' failed: No such file or directory" }, /build-essential/],
    [
      'a compiler on Alpine',
      { output: "  error: command 'x86_64-linux-gnu-gcc' failed", dockerfile: 'FROM python:3.12-alpine' },
      /build-base/,
    ],
    [
      'headers of Python',
      { output: 'x.c:1:10: fatal error: Python.h: No such file or directory' },
      /headers of Python/,
    ],
    ['other headers', { output: 'fatal error: libpq-fe.h: No such file or directory' }, /libpq-fe\.h/],
    [
      'requirements',
      { output: "ERROR: Could not open requirements file: [Errno 2] No such file or directory: 'requirements.txt'" },
      /^requirements\.txt is not in the image/,
    ],
    [
      'npm',
      { output: 'npm ERR! code ERESOLVE\nnpm ERR! ERESOLVE unable to resolve dependency tree' },
      /legacy-peer-deps/,
    ],
    ['npm 404', { output: 'npm error code E404\nnpm error 404 Not Found - GET https://r/x' }, /no such package/],
    ['npm script', { output: 'npm error Missing script: "biuld"' }, /no script biuld/],
    ['node-gyp', { output: 'gyp ERR! find Python Python is not set' }, /make g\+\+/],
    ['no space', { output: 'write error: No space left on device' }, /disk space/],
    ['a kill', { exitCode: 137 }, /memory/],
    ['memory', { output: 'MemoryError' }, /memory/],
    ['processes', { exitCode: 254, output: '/bin/sh: 1: Cannot fork' }, /processes/],
    ['a crash', { exitCode: 139 }, /segmentation fault/],
    [
      'sudo',
      { output: "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' option set" },
      /USER root/,
    ],
    [
      'sudo with no new privileges',
      { output: 'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.' },
      /USER root/,
    ],
    ['su', { output: 'su: must be suid to work properly' }, /runuser/],
    [
      'systemctl',
      { output: "System has not been booted with systemd as init system (PID 1). Can't operate." },
      /No systemd/,
    ],
    ['systemctl that is not there', { exitCode: 127, output: '/bin/sh: 1: systemctl: not found' }, /No systemd/],
    [
      'docker',
      { output: 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' },
      /COPY --from/,
    ],
    ['mount', { exitCode: 32, output: 'mount: /mnt: permission denied.' }, /cannot mount/],
    [
      'not root',
      {
        exitCode: 100,
        output:
          'E: Could not open lock file /var/lib/dpkg/lock - open (13: Permission denied)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?',
      },
      /USER root/,
    ],
    ['a module of Python', { output: "ModuleNotFoundError: No module named 'numpy'" }, /module numpy/],
    [
      'a file',
      { exitCode: 2, output: "python: can't open file '/app/main.py': [Errno 2] No such file or directory" },
      /^\/app\/main\.py is not in the image/,
    ],
    ['a file for cp', { output: "cp: cannot stat 'a.txt': No such file or directory" }, /^a\.txt is not/],
    ['a file for cat', { output: 'cat: nope.txt: No such file or directory' }, /^nope\.txt is not/],
  ])('for %s', (_, options, hint) => {
    expect(failed(options).hint).toMatch(hint);
  });

  test('says nothing where nothing is known', () => {
    const failure = failed({ output: 'Tests: 3 failed, 10 passed' });
    expect(failure.hint).toBeUndefined();
    expect(failure).toMatchObject({ class: 'user', retryable: false });
  });

  test('comes from the newest line, and is not of another cause further up', () => {
    expect(failed({ exitCode: 127, output: '/bin/sh: 1: git: not found\n/bin/sh: 1: curl: not found' }).hint).toMatch(
      /^curl/,
    );
  });

  test('is of what was said last', () => {
    const early = [
      'Failed to connect to bus: No such file or directory',
      ...Array.from({ length: 20 }, () => 'Setting up x'),
    ];
    expect(failed({ output: [...early, 'MemoryError'].join('\n') }).hint).toMatch(/memory/);
    expect(failed({ output: early.join('\n') }).hint).toMatch(/No systemd/);
  });

  test('does not replace one that is there', () => {
    const failure = new BuildFailure('x', { class: 'user', code: 'invalid_request', retryable: false, hint: 'mine' });
    expect(explain(failure, { tail: [{ text: 'MemoryError' }] })).toBe(failure);
  });

  test('is found in bounded time, whatever was written', () => {
    const walls = [
      'a'.repeat(100_000),
      'E: Failed to fetch '.repeat(5_000),
      "'/".repeat(50_000),
      'npm ERR! '.repeat(9_000),
      ': '.repeat(50_000),
    ];
    expect(
      failed({ output: Array.from({ length: 50 }, (_, index) => walls[index % walls.length]).join('\n') }).class,
    ).toBe('user');
  });
});

describe('the class of a failure', () => {
  test.each<[string, Partial<BuildFailure>]>([
    [
      "E: Unable to locate package curl\nErr:1 http://mirror.example Temporary failure resolving 'mirror.example'",
      { class: 'network', retryable: true },
    ],
    ['curl: (6) Could not resolve host: example.invalid', { class: 'network', code: 'unavailable', retryable: true }],
    [
      'curl: (7) Failed to connect to example.com port 443 after 5 ms: Connection refused',
      { class: 'network', retryable: true },
    ],
    [
      'pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(host=…): Read timed out.',
      { class: 'network', retryable: true },
    ],
    ['npm error code ETIMEDOUT', { class: 'network', retryable: true }],
    ['error: RPC failed; curl 56 … early EOF', { class: 'network', retryable: true }],
    [
      'curl: (60) SSL certificate problem: unable to get local issuer certificate',
      { class: 'network', retryable: false },
    ],
    [
      'curl: (22) The requested URL returned error: 429',
      { class: 'rate_limit', code: 'rate_limited', retryable: true },
    ],
    ['ERROR: HTTP error 403 while getting https://pypi.example/simple/x', { class: 'registry_auth', retryable: false }],
    ['npm error code E401', { class: 'registry_auth', retryable: false }],
    [
      "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
      { class: 'registry_auth', retryable: false },
    ],
    ['git@github.com: Permission denied (publickey).', { class: 'registry_auth', retryable: false }],
    [
      'tar: write error: No space left on device',
      { class: 'limit_exceeded', code: 'quota_exceeded', retryable: false },
    ],
  ])('of %s', (output, expected) => {
    expect(failed({ output })).toMatchObject(expected);
  });

  test('of errors that are no failures of builds', () => {
    expect(explain(invalidRequest('no'), { tail: [] })).toMatchObject({ class: 'user', message: 'no' });
    expect(explain(new DarkroomError('rate_limited', 'x', { retryable: true }), { tail: [] })).toMatchObject({
      class: 'rate_limit',
      retryable: true,
    });
    const internal = explain(new Error('password=hunter2'), { tail: [] });
    expect(internal).toMatchObject({ class: 'internal', code: 'internal', retryable: true });
    expect(internal.message).not.toContain('hunter2');
    expect(explain(undefined, { tail: [] }).class).toBe('internal');
  });
});
