import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ArtifactFilter } from './artifact-filter.ts';

const chart = (value: unknown) => `dtn_artifact_k39fd2:${JSON.stringify({ type: 'chart', value })}\n`;

function run(pieces: readonly Buffer[]) {
  const filter = new ArtifactFilter();
  const output = [...pieces.flatMap((piece) => filter.push(piece)), ...filter.end()];
  return { text: Buffer.concat(output).toString(), charts: filter.charts };
}

test('chart lines are taken out of the output and kept', () => {
  const { text, charts } = run([Buffer.from(`before\n${chart({ title: 'a' })}after`)]);
  expect(text).toBe('before\nafter');
  expect(charts).toEqual([{ title: 'a' }]);
});

test('it does not matter where the output is cut into pieces', () => {
  const whole = Buffer.from(`x\n${chart({ n: 1 })}dtn_artifact but not one\n${chart({ n: 2 })}\ny`);
  fc.assert(
    fc.property(fc.array(fc.nat(whole.length)), (cuts) => {
      const places = [0, ...cuts.toSorted((a, b) => a - b), whole.length];
      const pieces = places.slice(1).map((end, index) => whole.subarray(places[index], end));
      expect(run(pieces)).toEqual({ text: 'x\ndtn_artifact but not one\n\ny', charts: [{ n: 1 }, { n: 2 }] });
    }),
  );
});

test('the prefix inside a line, and a line that holds no chart, stay in the output', () => {
  const text = `see dtn_artifact_k39fd2:{}\ndtn_artifact_k39fd2:{"type":"table"}\ndtn_artifact_k39fd2:nonsense\n`;
  expect(run([Buffer.from(text)])).toEqual({ text, charts: [] });
});

test('a last line without an end is decided too', () => {
  expect(run([Buffer.from('dtn_art')])).toEqual({ text: 'dtn_art', charts: [] });
  expect(run([Buffer.from(chart(1).trimEnd())])).toEqual({ text: '', charts: [1] });
});
