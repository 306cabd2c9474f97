import { expect, test } from 'vitest';
import { createOpenAddresses } from './open-addresses.ts';

const from = '10.213.0.2';

function at(start: number) {
  let time = start;
  return { now: () => time, pass: (ms: number) => (time += ms) };
}

test('an address that is open for long enough is not told to the firewall again', () => {
  const clock = at(0);
  const opened = createOpenAddresses(clock.now);
  const add = (neededSeconds: number) =>
    opened.add({ from, name: 'a.test', addresses: ['192.0.2.1'], seconds: 90, neededSeconds });
  expect(add(15)).toEqual([{ from, to: '192.0.2.1', seconds: 90 }]);
  clock.pass(60_000);
  expect(add(15)).toEqual([]);
  expect(add(30)).toEqual([]);
  expect(add(31)).toHaveLength(1);
  expect(add(90)).toEqual([]);
  expect(opened.list()).toEqual([{ from, to: '192.0.2.1', seconds: 90 }]);
  clock.pass(90_000);
  expect(opened.list()).toEqual([]);
});

test('an address is closed when none of its names is kept, and what an earlier server opened at any change', () => {
  const opened = createOpenAddresses(() => 0);
  opened.restore([{ from, to: '192.0.2.9', seconds: 5 }]);
  opened.add({ from, name: 'a.test', addresses: ['192.0.2.1', '192.0.2.2'], seconds: 90, neededSeconds: 15 });
  opened.add({ from, name: 'b.test', addresses: ['192.0.2.2'], seconds: 90, neededSeconds: 15 });
  opened.add({ from: '10.213.0.6', name: 'a.test', addresses: ['192.0.2.1'], seconds: 90, neededSeconds: 15 });
  const closed = opened.closeAllBut(from, (name) => name === 'b.test').map(({ to }) => to);
  expect(closed.sort()).toEqual(['192.0.2.1', '192.0.2.9']);
  expect(opened.list().map(({ to }) => to)).toEqual(['192.0.2.2', '192.0.2.1']);
});

test('one sandbox has a bounded number of them, and room again when some have run out', () => {
  const clock = at(0);
  const opened = createOpenAddresses(clock.now);
  const add = (index: number) =>
    opened.add({
      from,
      name: 'a.test',
      addresses: [`192.0.${index >> 8}.${index % 256}`],
      seconds: 90,
      neededSeconds: 15,
    });
  for (let index = 0; index < 256; index += 1) expect(add(index)).toHaveLength(1);
  expect(() => add(256)).toThrow('has 256 addresses open');
  clock.pass(91_000);
  expect(add(256)).toHaveLength(1);
});
