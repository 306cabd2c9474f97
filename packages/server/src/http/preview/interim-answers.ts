import type { ClientRequest, InformationEvent, ServerResponse } from 'node:http';
import { PreviewProblem } from './problem.ts';
import { pairs } from './request-headers.ts';

/** Each keeps the request waiting for its answer, so that no program may go on with them for ever. */
const MAX_INTERIM = 100;
const MAX_HINTS = 8;
const MAX_HINT_BYTES = 16 * 1024;

/** What a program says before it answers (1xx). `onHints` is called for the first few early hints. */
export function onInterim(
  upstream: ClientRequest,
  fail: (problem: PreviewProblem) => void,
  onHints: (interim: InformationEvent) => void = () => {},
): void {
  let [interim, hints] = [0, 0];
  upstream.on('information', (information) => {
    interim += 1;
    if (interim === MAX_INTERIM)
      fail(new PreviewProblem(502, 'The program in the sandbox does not come to its answer.'));
    if (interim < MAX_INTERIM && information.statusCode === 103 && ++hints <= MAX_HINTS) onHints(information);
  });
}

/**
 * Written by hand: Node's own way looks at links with an expression that takes exponential time for some. Hints are left out for
 * a client that does not read, or whose turn has not come.
 */
export function passHints({ rawHeaders }: InformationEvent, response: ServerResponse): void {
  const { socket } = response;
  if (response.headersSent || !socket || socket.writableNeedDrain || response.req.httpVersionMinor < 1) return;
  const links = [...pairs(rawHeaders)].filter(
    ([name, value]) => name.toLowerCase() === 'link' && value.startsWith('<'),
  );
  const head = ['HTTP/1.1 103 Early Hints', ...links.map(([, value]) => `Link: ${value}`), '', ''].join('\r\n');
  if (links.length > 0 && head.length <= MAX_HINT_BYTES) socket.write(head, 'latin1');
}
