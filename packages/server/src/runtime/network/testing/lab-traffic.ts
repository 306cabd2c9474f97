/** What goes on in the lab's networks: name servers, connections that stay, and packets that no honest sandbox sends. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { inNet, type Lab, type NetPath } from './lab.ts';

const TALKER = fileURLToPath(new URL('./talker.ts', import.meta.url));
const NAME_SERVER = fileURLToPath(new URL('./name-server.ts', import.meta.url));
const RAW_PACKETS = fileURLToPath(new URL('./raw-packets.py', import.meta.url));
const ECHO_PORT = 7007;

export type Record = [name: string, type: 'A' | 'CNAME' | 'TXT', data: string, ttl: number];

export interface NameServer {
  /** What it knows from now on. */
  serve(records: readonly Record[]): Promise<void>;
  /** What it was asked so far, as `udp A api.example.test`. */
  asked: string[];
}

export async function startNameServer(lab: Pick<Lab, 'start'>, net: NetPath, address: string): Promise<NameServer> {
  const { stdin, lines } = await startLines(lab, net, [NAME_SERVER, address]);
  const asked: string[] = [];
  let served: () => void = () => {};
  lines((line) => (line === 'served' ? served() : asked.push(line)));
  return {
    asked,
    serve(records) {
      const done = new Promise<void>((resolve) => {
        served = resolve;
      });
      stdin.write(`${JSON.stringify(records)}\n`);
      return done;
    },
  };
}

/** See `raw-packets.py`. */
export async function sendRaw(net: NetPath, ...args: string[]): Promise<void> {
  await inNet(net, 'python3', [RAW_PACKETS, ...args]);
}

/** The frames that reach a device, up to one with the marker in it. */
export async function sniff(lab: Lab, net: NetPath, device: string, marker: string): Promise<Promise<string[]>[]> {
  const child = lab.start(net, ['python3', RAW_PACKETS, 'sniff', device, marker]);
  if (!child.stdout) throw new Error('a sniffer has no output');
  const reader = createInterface(child.stdout);
  const seen: string[] = [];
  await new Promise<void>((resolve) => reader.once('line', () => resolve()));
  reader.on('line', (line) => seen.push(line));
  // In an array: a promise that is returned by itself would be waited for.
  return [once(reader, 'close').then(() => seen)];
}

export interface Talk {
  /** What came back for this, or why nothing can. */
  say(text: string): Promise<string>;
}

export async function startEcho(lab: Lab, net: NetPath): Promise<void> {
  await startLines(lab, net, [TALKER, 'echo', String(ECHO_PORT)]);
}

/** A connection to the echo of a host that stays. */
export async function startTalk(lab: Lab, net: NetPath, address: string): Promise<Talk> {
  const { stdin, lines } = await startLines(lab, net, [TALKER, 'talk', address, String(ECHO_PORT)]);
  let heard: (line: string) => void = () => {};
  lines((line) => heard(line));
  return {
    say(text) {
      const answer = new Promise<string>((resolve) => {
        heard = resolve;
      });
      stdin.write(`${text}\n`);
      return answer;
    },
  };
}

async function startLines(lab: Pick<Lab, 'start'>, net: NetPath, args: readonly string[]) {
  const child = lab.start(net, [process.execPath, ...args]);
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error('a helper has no pipes');
  const reader = createInterface(stdout);
  await new Promise<void>((resolve, reject) => {
    reader.once('line', () => resolve());
    child.once('exit', () => reject(new Error('a helper ended before it was ready')));
  });
  return { stdin, lines: (listener: (line: string) => void) => void reader.on('line', listener) };
}
