import { DarkroomError } from '../../../platform/errors.ts';
import { DELIMITER, FLUSH, GitServerRefusal, malformed, packet, readPackets, textOf } from './pkt-line.ts';
import type { Advertisement } from './remote-refs.ts';
import type { GitServer } from './smart-http.ts';

/** The pack of one commit without those before it, as it comes. Raises `quota_exceeded` when it is larger than it may be. */
export async function* fetchPack(
  server: GitServer,
  advertisement: Advertisement,
  id: string,
  { maxBytes, signal }: { maxBytes: number; signal: AbortSignal },
): AsyncGenerator<Buffer> {
  const body = advertisement.version === 2 ? newRequest(advertisement, id) : oldRequest(advertisement, id);
  let inPack = advertisement.version === 0;
  let bytes = 0;
  for await (const each of readPackets(server.request(body, signal))) {
    if (each.kind !== 'data') continue;
    if (!inPack) {
      if (textOf(each) === 'packfile') inPack = true;
      continue;
    }
    const [channel] = each.bytes;
    if (channel === 1) {
      bytes += each.bytes.length - 1;
      if (bytes > maxBytes)
        throw new DarkroomError('quota_exceeded', `the repository has more than ${maxBytes} bytes at this commit`);
      yield each.bytes.subarray(1);
    } else if (channel === 3) throw new GitServerRefusal(each.bytes.toString('utf8', 1).trim());
    else if (channel !== 2) {
      const text = textOf(each);
      // What stands before the pack in the older protocol.
      if (bytes > 0 || !/^(shallow|unshallow) |^NAK$/.test(text)) throw malformed('its answer has no pack');
    }
  }
  if (bytes === 0) throw malformed('its answer has no pack');
}

function newRequest({ objectFormat, capabilities }: Advertisement, id: string): string {
  const features = [...capabilities].find((each) => each.startsWith('fetch=')) ?? '';
  const isShallow = features.slice('fetch='.length).split(' ').includes('shallow');
  return [
    packet('command=fetch'),
    packet(`object-format=${objectFormat}`),
    DELIMITER,
    packet('no-progress'),
    packet('ofs-delta'),
    ...(isShallow ? [packet('deepen 1\n')] : []),
    packet(`want ${id}\n`),
    packet('done\n'),
    FLUSH,
  ].join('');
}

function oldRequest({ objectFormat, capabilities }: Advertisement, id: string): string {
  if (!capabilities.has('side-band-64k')) throw malformed('its server speaks a protocol that is too old');
  const format = objectFormat === 'sha256' ? ' object-format=sha256' : '';
  return [
    packet(`want ${id} side-band-64k ofs-delta no-progress${format}\n`),
    ...(capabilities.has('shallow') ? [packet('deepen 1\n')] : []),
    FLUSH,
    packet('done\n'),
  ].join('');
}
