/**
 * Connections that stay. `echo PORT` sends back what it hears; `talk HOST PORT` sends the lines of its standard input one by one, and
 * prints for each what came back, or why nothing can any more.
 */
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const ANSWER_TIMEOUT_MS = 1_500;
const [command, first = '', second = ''] = process.argv.slice(2);

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (command === 'echo') {
  const server = createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen(Number(first), '0.0.0.0', () => say('ready'));
  process.stdin.resume().on('end', () => process.exit(0));
} else {
  const socket = connect({ host: first, port: Number(second) }, () => say('connected'));
  let over = '';
  let heard: (text: string) => void = () => {};
  socket.setEncoding('utf8').on('data', (text: string) => heard(text.trim()));
  socket.on('error', (error) => {
    over = 'code' in error ? String(error.code) : error.message;
    heard(over);
  });
  createInterface(process.stdin)
    .on('line', (line) => {
      if (over) return say(over);
      const timer = setTimeout(() => heard('silence'), ANSWER_TIMEOUT_MS);
      heard = (text) => {
        clearTimeout(timer);
        heard = () => {};
        say(text);
      };
      socket.write(`${line}\n`);
    })
    .on('close', () => process.exit(0));
}
