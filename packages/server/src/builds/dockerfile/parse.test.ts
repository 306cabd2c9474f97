import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DarkroomError } from '../../platform/errors.ts';
import type { StageInstruction } from './parse.ts';
import { parseDockerfile } from './parse.ts';

function only(text: string): StageInstruction {
  const [instruction, ...more] = parseDockerfile(`FROM x\n${text}`).stages[0].instructions;
  if (instruction === undefined || more.length > 0) throw new Error('expected one instruction');
  return instruction;
}

const refusal = (text: string) => {
  try {
    parseDockerfile(text);
  } catch (error) {
    if (error instanceof DarkroomError) return { code: error.code, message: error.message, hint: error.hint };
    throw error;
  }
  throw new Error('it was taken');
};

describe('the text', () => {
  test('comments, empty lines and continued lines', () => {
    const text = ['# a comment', '', '  FROM x', 'RUN a \\', '  # inside', '', '  && b \\ ', ' && c'].join('\r\n');
    const { stages } = parseDockerfile(text);
    expect(stages[0].from).toMatchObject({ image: 'x', line: 3 });
    expect(stages[0].instructions).toMatchObject([
      { kind: 'run', line: 4, command: { form: 'shell', script: 'a   && b  && c' } },
    ]);
  });

  test('a doubled backslash at the end of a line is a character', () => {
    const { stages } = parseDockerfile('FROM x\nRUN echo \\\\\nRUN two');
    expect(stages[0].instructions).toHaveLength(2);
  });

  test('a continuation at the end of the file ends with it', () => {
    expect(only('RUN a \\')).toMatchObject({ command: { script: 'a' } });
  });

  test('the escape directive, at the top alone', () => {
    const { directives, stages } = parseDockerfile(
      '# syntax=docker/dockerfile:1\n# escape=`\nFROM x\nRUN dir C:\\ `\n  more',
    );
    expect(directives).toEqual({ escapeChar: '`', syntax: 'docker/dockerfile:1', check: undefined });
    expect(stages[0].instructions).toMatchObject([{ command: { script: 'dir C:\\   more' } }]);
    expect(parseDockerfile('# hello\n# escape=`\nFROM x').directives.escapeChar).toBe('\\');
    expect(refusal('# escape=x\nFROM x').message).toBe('Dockerfile line 1: escape must be \\ or `, not x');
  });

  test('a byte order mark and lower case', () => {
    expect(parseDockerfile('\uFEFFfrom x as Y').stages[0].from).toMatchObject({ image: 'x', name: 'y' });
  });

  test.each([
    ['', 1, 'there is no instruction in it'],
    ['# only\n# comments', 1, 'there is no instruction in it'],
    ['RUN x', 1, 'no build stage in current context'],
    ['FROM x\nRNU y', 2, 'unknown instruction: RNU'],
    ['FROM', 1, 'FROM requires an image'],
    ['FROM a AS', 1, 'FROM requires either one or three arguments'],
    ['FROM a AS 1x', 1, 'invalid name for build stage: "1x"'],
    ['FROM x\nENV a', 2, 'ENV must have two arguments, or name=value'],
    ['FROM x\nENV a=1 b', 2, 'can\'t find = in "b": ENV takes name=value'],
    ['FROM x\nCOPY a', 2, 'COPY requires at least two arguments'],
    ['FROM x\nCOPY --form=a b c', 2, 'COPY has no flag --form'],
    ['FROM x\nSHELL bash', 2, 'SHELL requires the arguments to be in JSON form'],
    ['FROM x\nONBUILD FROM y', 2, "FROM isn't allowed as an ONBUILD trigger"],
    ['FROM x\nRUN --network=host y', 2, 'RUN --network=host is not supported'],
    ['FROM x\nRUN --mount=type=ssh y', 2, '--mount=type=ssh is not supported'],
    ['FROM x\nRUN <<A\nx', 2, 'the heredoc A has no end'],
    ['FROM x\nHEALTHCHECK --interval=fast CMD x', 2, '--interval=fast is no duration of at least 1ms'],
  ])('%j is refused by name with its line', (text, line, message) => {
    expect(refusal(text)).toMatchObject({ code: 'invalid_request', message: `Dockerfile line ${line}: ${message}` });
  });

  test('a slip of the pen gets the near word', () => {
    expect(refusal('FROM x\nRNU y').hint).toBe('Did you mean RUN?');
  });
});

describe('heredocs', () => {
  test('of RUN, with the shell line that they belong to', () => {
    expect(only("RUN python3 <<'EOF' > /out\nprint('$x')\n# no comment\nEOF")).toMatchObject({
      command: { script: "python3 <<'EOF' > /out" },
      heredocs: [{ name: 'EOF', expand: false, content: "print('$x')\n# no comment\n" }],
    });
  });

  test('with tabs taken off, with a blank before the name, and several in a row', () => {
    expect(only('RUN <<-A\n\tone\n\t\ttwo\n\tA')).toMatchObject({ heredocs: [{ content: 'one\ntwo\n', chomp: true }] });
    expect(only('RUN cat << EOF\nx\nEOF')).toMatchObject({ heredocs: [{ name: 'EOF', content: 'x\n' }] });
    expect(only('COPY <<a.txt <<"b" /to/\n$1\na.txt\n2\nb')).toMatchObject({
      sources: [],
      target: '/to/',
      heredocs: [
        { name: 'a.txt', expand: true, content: '$1\n' },
        { name: 'b', expand: false, content: '2\n' },
      ],
    });
  });

  test('are none in quotes, in the JSON form, and of other instructions', () => {
    expect(only('RUN echo "<<EOF"')).toMatchObject({ heredocs: [] });
    expect(only('RUN ["echo", "<<EOF"]')).toMatchObject({ command: { argv: ['echo', '<<EOF'] }, heredocs: [] });
    expect(only('USER <<EOF')).toMatchObject({ user: '<<EOF' });
  });

  test('go with their trigger', () => {
    expect(only('ONBUILD RUN <<EOF\nhi\nEOF')).toMatchObject({ trigger: 'RUN <<EOF\nhi\nEOF' });
  });
});

describe('instructions', () => {
  test('RUN with mounts and a network', () => {
    const text =
      'RUN --mount=type=cache,target=/root/.cache,sharing=locked,id=pip --mount=type=secret,id=key,env=KEY --mount=type=bind,from=base,src=/a,dst=/b,rw --mount=type=tmpfs,dst=/t,size=64m --network=none make';
    expect(only(text)).toMatchObject({
      network: 'none',
      command: { form: 'shell', script: 'make' },
      mounts: [
        { type: 'cache', target: '/root/.cache', id: 'pip', sharing: 'locked', mode: 0o755 },
        { type: 'secret', id: 'key', env: 'KEY', target: undefined, required: false, mode: 0o400 },
        { type: 'bind', from: 'base', source: '/a', target: '/b', writable: true },
        { type: 'tmpfs', target: '/t', sizeBytes: 64 * 2 ** 20 },
      ],
    });
  });

  test('COPY and ADD with every flag', () => {
    expect(
      only('COPY --from=b --chown=1:2 --chmod=u+x --link --parents --exclude=*.o --exclude=x a b* /c/'),
    ).toMatchObject({
      from: 'b',
      chown: '1:2',
      chmod: 'u+x',
      link: true,
      parents: true,
      exclude: ['*.o', 'x'],
      sources: ['a', 'b*'],
      target: '/c/',
    });
    expect(only('ADD --checksum=sha256:ab --keep-git-dir=true --unpack=false https://h/x /x')).toMatchObject({
      checksum: 'sha256:ab',
      keepGitDir: true,
      unpack: false,
    });
    expect(only('COPY ["a b", "/c d"]')).toMatchObject({ sources: ['a b'], target: '/c d' });
  });

  test('JSON that is none is for the shell', () => {
    expect(only("CMD ['a']")).toMatchObject({ command: { form: 'shell', script: "['a']" } });
    expect(only('CMD ["a", 1]')).toMatchObject({ command: { form: 'shell' } });
    expect(only('CMD []')).toMatchObject({ command: { form: 'exec', argv: [] } });
  });

  test('ENV and LABEL in both forms, quotes still in them', () => {
    expect(only('ENV a=1 b="2 3" c=4\\ 5')).toMatchObject({
      pairs: [
        { name: 'a', value: '1' },
        { name: 'b', value: '"2 3"' },
        { name: 'c', value: '4\\ 5' },
      ],
    });
    expect(only('ENV a the rest  of it')).toMatchObject({ pairs: [{ name: 'a', value: 'the rest  of it' }] });
    expect(only("LABEL 'a b'=c")).toMatchObject({ pairs: [{ name: "'a b'", value: 'c' }] });
  });

  test('ARG before and after FROM', () => {
    const { metaArgs, stages } = parseDockerfile('ARG A=1 B\nFROM $A\nARG A');
    expect(metaArgs[0]?.args).toEqual([
      { name: 'A', value: '1' },
      { name: 'B', value: undefined },
    ]);
    expect(stages[0].instructions).toMatchObject([{ kind: 'arg', args: [{ name: 'A', value: undefined }] }]);
  });

  test('HEALTHCHECK', () => {
    expect(only('HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD ["curl", "x"]')).toMatchObject({
      command: { form: 'exec', argv: ['curl', 'x'] },
      interval: 90e9,
      timeout: 5e8,
      retries: 3,
    });
    expect(only('HEALTHCHECK NONE')).toMatchObject({ command: undefined });
  });
});

test('any text is read or refused with a line', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'FROM x',
      'RUN ',
      'COPY <<A b',
      'A',
      '\\',
      '--mount=type=',
      'ENV a=',
      '"',
      "'",
      '# escape=`',
      '[',
      '\n',
      '\r\n',
      '$',
      '<<',
      'ONBUILD ',
    ),
    fc.string({ maxLength: 12 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const text = `FROM x\n${pieces.join('')}`;
      try {
        parseDockerfile(text);
      } catch (error) {
        expect(error).toMatchObject({ name: 'DarkroomError', code: 'invalid_request' });
        expect(String(error)).toMatch(/Dockerfile line \d+: /);
      }
    }),
  );
});

test('a NUL that the JSON form has as an escape is refused, half of a surrogate pair is replaced', () => {
  for (const line of [
    'RUN ["a\\u0000"]',
    'ENTRYPOINT ["a\\u0000"]',
    'HEALTHCHECK CMD ["a\\u0000"]',
    'SHELL ["\\u0000"]',
  ])
    expect(refusal(`FROM x\n${line}`).message).toBe('Dockerfile line 2: there is a NUL character in it');
  expect(only('CMD ["\\ud800"]')).toMatchObject({ command: { argv: ['\ufffd'] } });
});
