import type { Answer } from 'dns-packet';
import { expect, test } from 'vitest';
import { selectAnswer } from './select-answer.ts';

const a = (name: string, data: string, ttl = 60): Answer => ({ type: 'A', name, data, ttl });
const cname = (name: string, data: string, ttl = 60): Answer => ({ type: 'CNAME', name, data, ttl });
const everywhere = (_address: string) => true;
const select = (answers: Answer[], mayReach = everywhere) =>
  selectAnswer({ name: 'Api.Example.com', type: 'A' }, answers, mayReach);

test('addresses of the name are taken, whatever the order and the case', () => {
  const found = select([a('API.example.com', '192.0.2.1', 30), a('api.example.com.', '192.0.2.2', 20)]);
  expect(found).toMatchObject({ addresses: ['192.0.2.1', '192.0.2.2'], ttl: 20 });
});

test('aliases are followed, and the shortest time on the way counts', () => {
  const chain = [a('c.test', '192.0.2.3', 300), cname('b.test', 'c.test', 7), cname('api.example.com', 'b.test', 100)];
  const { records, addresses, ttl } = select(chain);
  expect(addresses).toEqual(['192.0.2.3']);
  expect(ttl).toBe(7);
  expect(records.map((record) => record.type)).toEqual(['CNAME', 'CNAME', 'A']);
});

test('records of names that lead nowhere from the question are left out', () => {
  const { records, addresses } = select([
    a('example.com', '192.0.2.9'),
    a('evil.test', '192.0.2.8'),
    cname('x.test', 'y.test'),
  ]);
  expect([records, addresses]).toEqual([[], []]);
});

test('addresses that must not be reached are left out and open nothing', () => {
  const { records, addresses } = select(
    [a('api.example.com', '127.0.0.1'), a('api.example.com', '192.0.2.1')],
    (address) => address !== '127.0.0.1',
  );
  expect(addresses).toEqual(['192.0.2.1']);
  expect(records).toHaveLength(1);
});

test('an alias that leads back, or on without end, comes to an end', () => {
  expect(select([cname('api.example.com', 'b.test'), cname('b.test', 'api.example.com')]).addresses).toEqual([]);
  const long = Array.from({ length: 40 }, (_, step) =>
    cname(step === 0 ? 'api.example.com' : `n${step}.test`, `n${step + 1}.test`),
  );
  expect(select([...long, a('n40.test', '192.0.2.1')]).addresses).toEqual([]);
});

test('an answer with very many addresses opens a bounded number', () => {
  const many = Array.from({ length: 200 }, (_, last) => a('api.example.com', `192.0.2.${last}`));
  expect(select(many).addresses).toHaveLength(32);
});

test('other types are handed on without opening anything', () => {
  const text: Answer = { type: 'TXT', name: 'api.example.com', data: 'hello', ttl: 5 };
  const { records, addresses } = selectAnswer(
    { name: 'api.example.com', type: 'TXT' },
    [text, a('api.example.com', '192.0.2.1')],
    everywhere,
  );
  expect(addresses).toEqual([]);
  expect(records).toEqual([text]);
});

test('times to live are bounded for the sandbox', () => {
  expect(select([a('api.example.com', '192.0.2.1', 86_400)]).records).toEqual([a('api.example.com', '192.0.2.1', 600)]);
});
