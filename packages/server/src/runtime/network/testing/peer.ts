/**
 * A small host of the test network. `serve ADDRESS,… PORT,…` answers on TCP and UDP with the address it saw and the datagrams it has got;
 * `tcp HOST PORT` and `udp HOST PORT TEXT [FROM]` ask it and print what came of it; `send` is `udp` without waiting;
 * `flood HOST COUNT` opens as many connections to it as the way there allows; `pour HOST COUNT` sends it as many large datagrams;
 * `lookup SERVER NAME TYPE udp|tcp` asks a name server, `ask SERVER NAME COUNT` asks it without listening.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { decode, encode, RECURSION_DESIRED } from 'dns-packet';
import { frame, readFrames } from '../dns/framing.ts';

const ANSWER_TIMEOUT_MS = 1_000;
const LOOKUP_TIMEOUT_MS = 8_000;
const PORT_OF_NOBODY = 9;
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

async function serve(addresses: readonly string[], ports: readonly number[]): Promise<void> {
  const datagrams: string[] = [];
  const ready = ports.flatMap((port) => [serveTcp(port), ...addresses.map((address) => serveUdp(address, port))]);

  function serveTcp(port: number) {
    const tcp = createServer((socket) => {
      const remote = socket.remoteAddress?.replace('::ffff:', '');
      socket.on('error', () => {});
      socket.end(JSON.stringify({ remote, datagrams }));
    });
    return new Promise<void>((resolve) => tcp.listen(port, '::', resolve));
  }

  // One socket for each address, so that an answer comes from the address that was asked.
  function serveUdp(address: string, port: number) {
    const udp = createSocket({ type: 'udp4', reuseAddr: true });
    udp.on('message', (text, from) => {
      datagrams.push(text.toString());
      udp.send(JSON.stringify({ remote: from.address, datagrams }), from.port, from.address);
    });
    return new Promise<void>((resolve) => udp.bind(port, address, resolve));
  }

  await Promise.all(ready);
  process.stdout.write('ready\n');
  // Ends with the test that holds the other end.
  process.stdin.resume().on('end', () => process.exit(0));
}

function print(answer: object): void {
  process.stdout.write(JSON.stringify(answer));
  process.exit(0);
}

function askTcp(host: string, port: number): void {
  const socket = connect({ host, port, timeout: ANSWER_TIMEOUT_MS });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('end', () => print({ ok: true, ...JSON.parse(text) }));
  socket.on('timeout', () => print({ ok: false, code: 'ETIMEDOUT' }));
  socket.on('error', (error) => print({ ok: false, code: 'code' in error ? error.code : error.message }));
}

function askUdp(host: string, port: number, text: string, from: string | undefined, wait: boolean): void {
  const socket = createSocket('udp4');
  socket.on('error', (error) => print({ ok: false, code: 'code' in error ? error.code : error.message }));
  socket.on('message', (answer) => print({ ok: true, ...JSON.parse(answer.toString()) }));
  socket.bind(0, from ?? '0.0.0.0', () => {
    socket.setBroadcast(true);
    socket.send(text, port, host, (error) => {
      if (error || !wait) print({ ok: error === null, code: error?.message });
    });
  });
  setTimeout(() => print({ ok: false, code: 'ETIMEDOUT' }), ANSWER_TIMEOUT_MS);
}

function flood(host: string, count: number): void {
  const socket = createSocket('udp4');
  // Ports where nobody listens answer, and the answers come as errors of the socket.
  socket.on('error', () => {});
  let settled = 0;
  const next = () => (settled === count ? print({ ok: true }) : socket.send('x', 1_000 + settled++, host, next));
  socket.bind(0, next);
}

function pour(host: string, count: number): void {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  const text = Buffer.alloc(1_400);
  let sent = 0;
  const next = () => (sent++ === count ? print({ ok: true }) : socket.send(text, PORT_OF_NOBODY, host, next));
  socket.bind(0, next);
}

function askMany(server: string, name: string, count: number): void {
  const query = encode({ id: 7, flags: RECURSION_DESIRED, questions: [{ name, type: 'A', class: 'IN' }] });
  const socket = createSocket('udp4').on('error', () => {});
  let sent = 0;
  const next = () => (sent++ === count ? print({ ok: true }) : socket.send(query, 53, server, next));
  socket.bind(0, next);
}

function lookup(server: string, name: string, type: 'A' | 'AAAA' | 'TXT', over: string): void {
  const query = encode({ id: 7, flags: RECURSION_DESIRED, questions: [{ name, type, class: 'IN' }] });
  const onAnswer = (message: Buffer) => {
    const { answers = [] } = decode(message);
    const addresses = answers.flatMap((answer) => (answer.type === 'A' || answer.type === 'AAAA' ? [answer.data] : []));
    print({ ok: true, rcode: RCODES[message.readUInt16BE(2) & 0xf] ?? 'other', addresses });
  };
  setTimeout(() => print({ ok: false, code: 'ETIMEDOUT' }), LOOKUP_TIMEOUT_MS);
  const onError = (error: Error) => print({ ok: false, code: 'code' in error ? error.code : error.message });
  if (over === 'tcp') {
    const socket = connect({ host: server, port: 53 }).on('error', onError);
    socket.on('end', () => print({ ok: false, code: 'closed' }));
    readFrames(socket, 65_535, onAnswer);
    socket.write(frame(query));
    return;
  }
  const socket = createSocket('udp4').on('error', onError).on('message', onAnswer);
  // Connected, so that a refusal is heard.
  socket.connect(53, server, () => socket.send(query));
}

const [command, ...args] = process.argv.slice(2);
const [host = '', port = '', text = '', from] = args;
if (command === 'serve') await serve(host.split(','), port.split(',').map(Number));
else if (command === 'tcp') askTcp(host, Number(port));
else if (command === 'lookup') lookup(host, port, text === 'AAAA' || text === 'TXT' ? text : 'A', from ?? 'udp');
else if (command === 'ask') askMany(host, port, Number(text));
else if (command === 'pour') pour(host, Number(port));
else if (command === 'flood') flood(host, Number(port));
else askUdp(host, Number(port), text, from, command === 'udp');
