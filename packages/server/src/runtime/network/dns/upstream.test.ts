import { encode, type Question } from 'dns-packet';
import { expect, test } from 'vitest';
import { matchingAnswer } from './upstream.ts';

const question: Question = { name: 'api.example.com', type: 'A', class: 'IN' };
const answer = (changes: Parameters<typeof encode>[0] = {}) =>
  encode({ type: 'response', id: 9, questions: [question], ...changes });

test('the answer to this question is taken', () => {
  expect(matchingAnswer(answer(), 9, question)).toMatchObject({ rcode: 0 });
  expect(
    matchingAnswer(answer({ questions: [{ ...question, name: 'API.Example.COM' }], flags: 3 }), 9, question),
  ).toMatchObject({
    rcode: 3,
  });
});

test.each([
  ['with another number', answer({ id: 8 })],
  ['to another name', answer({ questions: [{ ...question, name: 'evil.test' }] })],
  ['to another type', answer({ questions: [{ ...question, type: 'TXT' }] })],
  ['without the question', answer({ questions: [] })],
  ['to two questions', answer({ questions: [question, question] })],
  ['that is a query', answer({ type: 'query' })],
  ['that is no message', Buffer.from('nonsense')],
  ['that is cut off', answer().subarray(0, 20)],
])('one %s is passed over', (_what, message) => {
  expect(matchingAnswer(message, 9, question)).toBeUndefined();
});
