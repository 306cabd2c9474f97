import { expect, test } from 'vitest';
import { readTriggers } from './triggers.ts';

test('triggers are instructions of the line that names the base', () => {
  const triggers = readTriggers(['RUN make', 'COPY --chown=app . /src', 'RUN <<EOF\necho a\nEOF'], 7);
  expect(triggers.map(({ text }) => text)).toEqual([
    'ONBUILD RUN make',
    'ONBUILD COPY --chown=app . /src',
    'ONBUILD RUN <<EOF\necho a\nEOF',
  ]);
  expect(triggers.map(({ instruction }) => instruction)).toMatchObject([
    { kind: 'run', line: 7, command: { script: 'make' } },
    { kind: 'copy', line: 7, sources: ['.'], chown: 'app' },
    { kind: 'run', line: 7, heredocs: [{ content: 'echo a\n' }] },
  ]);
});

test.each([
  ['FROM x', "FROM isn't allowed as an ONBUILD trigger"],
  ['ONBUILD RUN x', "ONBUILD isn't allowed as an ONBUILD trigger"],
  ['RNU x', 'unknown instruction: RNU'],
  ['COPY x', 'COPY requires at least two arguments'],
])('the trigger %s of an image is refused by name', (text, why) => {
  expect(() => readTriggers([text], 3)).toThrow(`Dockerfile line 3: the base's trigger "ONBUILD ${text}": ${why}`);
});
