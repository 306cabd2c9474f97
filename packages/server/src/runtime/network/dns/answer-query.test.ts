import { type Answer, decode, encode, RECURSION_DESIRED, type RecordType } from 'dns-packet';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { answerQuery, type QueryContext } from './answer-query.ts';

interface Given {
  answers?: Answer[];
  rcode?: number;
  open?: QueryContext['open'];
}

function contextWith({ answers = [], rcode = 0, open = async () => {} }: Given = {}) {
  const asked: string[] = [];
  const opened: string[] = [];
  const context: QueryContext = {
    isAllowed: (name) => name === 'api.example.com',
    mayReach: (address) => !address.startsWith('10.'),
    async ask({ name, type }) {
      asked.push(`${type} ${name}`);
      return { rcode, packet: decode(encode({ type: 'response', id: 1, answers })) };
    },
    async open(name, addresses, time) {
      opened.push(`${name} ${addresses.join(' ')} ${time.seconds}`);
      await open(name, addresses, time);
    },
    onFailure() {},
  };
  return { context, asked, opened };
}

const query = (name: string, type: RecordType = 'A', extra: Parameters<typeof encode>[0] = {}) =>
  encode({ type: 'query', id: 77, flags: RECURSION_DESIRED, questions: [{ name, type, class: 'IN' }], ...extra });
const a = (data: string): Answer => ({ type: 'A', name: 'api.example.com', data, ttl: 60 });

async function ask(context: QueryContext, message: Buffer, transport: 'udp' | 'tcp' = 'udp') {
  const reply = await answerQuery(context, message, transport);
  if (reply === undefined) return undefined;
  const packet = decode(reply);
  return {
    rcode: reply.readUInt16BE(2) & 0xf,
    id: packet.id,
    truncated: packet.flag_tc,
    answers: packet.answers ?? [],
  };
}

test('an address is open before the answer is given', async () => {
  const order: string[] = [];
  const { context } = contextWith({
    answers: [a('192.0.2.1')],
    open: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('opened');
    },
  });
  const answer = await ask(context, query('API.example.com'));
  order.push('answered');
  expect(order).toEqual(['opened', 'answered']);
  expect(answer).toMatchObject({ rcode: 0, id: 77, answers: [{ data: '192.0.2.1' }] });
});

test('a name that is not on the list does not exist, and nobody is asked', async () => {
  const { context, asked } = contextWith();
  for (const name of ['other.test', 'x.api.example.com', 'a b.test', '']) {
    expect(await ask(context, query(name || '.'))).toMatchObject({ rcode: 3, answers: [] });
  }
  expect(asked).toEqual([]);
});

test('IPv6 addresses and service records are none, without asking', async () => {
  const { context, asked } = contextWith();
  for (const type of ['AAAA', 'HINFO', 'PTR', 'DNSKEY'] as const) {
    expect(await ask(context, query('api.example.com', type))).toMatchObject({ rcode: 0, answers: [] });
  }
  expect(asked).toEqual([]);
});

test('a name that leads to a forbidden address alone has none', async () => {
  const { context, opened } = contextWith({ answers: [a('10.0.0.1')] });
  expect(await ask(context, query('api.example.com'))).toMatchObject({ rcode: 0, answers: [] });
  expect(opened).toEqual([]);
});

test('failures of the name server and of the firewall are failures of the server', async () => {
  expect(await ask(contextWith({ rcode: 5 }).context, query('api.example.com'))).toMatchObject({ rcode: 2 });
  expect(await ask(contextWith({ rcode: 3 }).context, query('api.example.com'))).toMatchObject({ rcode: 3 });
  const refused = contextWith({ answers: [a('192.0.2.1')], open: () => Promise.reject(new Error('full')) });
  expect(await ask(refused.context, query('api.example.com'))).toMatchObject({ rcode: 2, answers: [] });
});

test('what does not fit into a datagram is asked for again over TCP', async () => {
  const answers = Array.from({ length: 32 }, (_, last) => a(`192.0.2.${last}`));
  const { context } = contextWith({ answers });
  expect(await ask(context, query('api.example.com'))).toMatchObject({ truncated: true, answers: [] });
  expect((await ask(context, query('api.example.com'), 'tcp'))?.answers).toHaveLength(32);
});

test('no answer is given to an answer, and no message of any bytes does harm', async () => {
  const { context } = contextWith();
  const response = encode({
    type: 'response',
    id: 1,
    questions: [{ name: 'api.example.com', type: 'A', class: 'IN' }],
  });
  expect(await answerQuery(context, response, 'udp')).toBeUndefined();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), async (bytes) => {
      const reply = await answerQuery(context, Buffer.from(bytes), 'udp');
      if (reply !== undefined) expect(reply.length).toBeLessThanOrEqual(1232);
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: 32 }), fc.nat({ max: 255 }), async (at, value) => {
      const message = query('api.example.com');
      message[at % message.length] = value;
      await answerQuery(context, message, 'tcp');
    }),
  );
});
