import { expect, it } from 'vitest';
import { createEventReplay } from './event-replay.ts';
import type { StepEvent } from './step-cache.ts';

const line = (text: string): StepEvent => ({ kind: 'output', stream: 'stdout', bytes: Buffer.from(`${text}\n`) });
const text = (event: StepEvent | undefined) => (event?.kind === 'output' ? Buffer.from(event.bytes).toString() : '');

it('gives back all events in their order', () => {
  const replay = createEventReplay();
  const events = [line('a'), { kind: 'note', text: 'b' } as const, line('c')];
  for (const event of events) replay.add(event);
  expect(replay.events().map((event) => event.kind)).toEqual(['output', 'note', 'output']);
});

it('keeps the last of what is too much, and says how many lines it left out', () => {
  const replay = createEventReplay(10_000);
  for (let number = 0; number < 100_000; number++) replay.add(line(String(number)));
  const [note, ...kept] = replay.events();
  expect(kept.length).toBeGreaterThan(50);
  expect(kept.length).toBeLessThan(100);
  expect(note).toEqual({
    kind: 'note',
    text: `${100_000 - kept.length} earlier lines are left out here; the build that began this step has them.`,
  });
  expect([text(kept[0]), text(kept.at(-1))]).toEqual([`${100_000 - kept.length}\n`, '99999\n']);
});

it('keeps one event however large it is', () => {
  const replay = createEventReplay(10);
  replay.add(line('x'.repeat(1000)));
  expect(replay.events()).toHaveLength(1);
});

it('has copies, so that a buffer may be written to again', () => {
  const replay = createEventReplay();
  const bytes = Buffer.from('before');
  replay.add({ kind: 'output', stream: 'stdout', bytes });
  bytes.write('after!');
  expect(text(replay.events()[0])).toBe('before');
});
