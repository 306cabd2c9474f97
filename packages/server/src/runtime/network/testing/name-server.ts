/**
 * `ADDRESS`: a name server that knows what each line of its standard input says (JSON: name, type, data, time to live) and prints what it is
 * asked. About names that begin with `silent` it says nothing; those that begin with `long` do not fit into a datagram.
 */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { decode, encode, type StringAnswer, TRUNCATED_RESPONSE } from 'dns-packet';
import { z } from 'zod';
import { frame, readFrames } from '../dns/framing.ts';

const recordsSchema = z.array(z.tuple([z.string(), z.enum(['A', 'CNAME', 'TXT']), z.string(), z.number()]));
const NO_SUCH_NAME = 3;
let records: z.infer<typeof recordsSchema> = [];

function answer(message: Buffer, over: 'udp' | 'tcp'): Buffer | undefined {
  const query = decode(message);
  const [question] = query.questions ?? [];
  if (question === undefined) return undefined;
  process.stdout.write(`${over} ${question.type} ${question.name}\n`);
  if (question.name.startsWith('silent')) return undefined;
  const common = { type: 'response' as const, id: query.id ?? 0, questions: [question] };
  if (question.name.startsWith('long') && over === 'udp') return encode({ ...common, flags: TRUNCATED_RESPONSE });
  // As a resolver does: the whole chain of aliases in one answer, and something that nobody asked for.
  const names = new Set([question.name]);
  for (const [name, type, data] of records) if (type === 'CNAME' && names.has(name)) names.add(data);
  const found = records.filter(([name, type]) => names.has(name) && (type === question.type || type === 'CNAME'));
  const answers = [...found, ...records.filter(([name]) => name === 'slipped.in')].map(
    ([name, type, data, ttl]): StringAnswer => ({ name, type: type === 'TXT' ? 'PTR' : type, data, ttl, class: 'IN' }),
  );
  return encode({ ...common, flags: found.length === 0 ? NO_SUCH_NAME : 0, answers });
}

const udp = createSocket('udp4');
udp.on('message', (message, from) => {
  const reply = answer(message, 'udp');
  if (reply) udp.send(reply, from.port, from.address);
});
const tcp = createServer((socket) => {
  socket.on('error', () => {});
  readFrames(socket, 65_535, (message) => {
    const reply = answer(message, 'tcp');
    if (reply) socket.write(frame(reply));
  });
});
createInterface(process.stdin)
  .on('line', (line) => {
    records = recordsSchema.parse(JSON.parse(line));
    process.stdout.write('served\n');
  })
  .on('close', () => process.exit(0));
// At one address: an answer must come from the one that was asked.
const [address = '0.0.0.0'] = process.argv.slice(2);
udp.bind(53, address, () => tcp.listen(53, address, () => process.stdout.write('ready\n')));
