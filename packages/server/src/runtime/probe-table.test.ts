import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { hasFailure, type ProbeRow, renderProbe } from './probe-table.ts';

const ROWS: ProbeRow[] = [
  { name: 'user', status: 'ok', found: 'root' },
  { name: 'name server', status: 'warn', found: 'none', advice: 'Set network.dns.' },
  { name: 'crun', status: 'fail', found: 'is not\n  installed\n', advice: 'apt-get install crun' },
];

test('rows stand in columns, with the advice under the row that it is for', () => {
  expect(renderProbe(ROWS, { color: false }).split('\n')).toEqual([
    '  ok    user         root',
    '  warn  name server  none',
    '                     → Set network.dns.',
    '  FAIL  crun         is not; installed',
    '                     → apt-get install crun',
  ]);
});

test('colour changes nothing but colour', () => {
  const colored = renderProbe(ROWS, { color: true });
  expect(colored).toContain('\u001b[31m');
  expect(stripVTControlCharacters(colored)).toBe(renderProbe(ROWS, { color: false }));
});

test('a warning is no failure', () => {
  expect(hasFailure(ROWS.slice(0, 2))).toBe(false);
  expect(hasFailure(ROWS)).toBe(true);
  expect(renderProbe([], { color: false })).toBe('');
});
