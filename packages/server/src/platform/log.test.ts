import { expect, test } from 'vitest';
import { createLog, scrub } from './log.ts';

function capture(format: 'auto' | 'pretty' | 'json', isTerminal = false) {
  const lines: string[] = [];
  const log = createLog({
    log: { level: 'debug', format },
    isTerminal,
    stream: { write: (line) => void lines.push(line) },
  });
  return { log, lines };
}

test('json is one object a line, with level, time and fields', () => {
  const { log, lines } = capture('auto');
  log.child({ request: 'r1' }).info({ id: 7 }, 'hello');
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', msg: 'hello', id: 7, request: 'r1' });
});

test('a terminal gets one short line, and the stack only where it is serious', () => {
  const { log, lines } = capture('auto', true);
  log.info({ name: 'a b', count: 2 }, 'started');
  log.warn({ err: new Error('broken pipe') }, 'a client left');
  log.error({ err: new Error('boom') }, 'it failed');
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}started name="a b" count=2\n$/);
  expect(lines[1]).toMatch(/WARN {2}a client left \(broken pipe\)\n$/);
  expect(lines[2]).toMatch(/ERROR it failed \(boom\)\n {4}Error: boom\n {8}at /);
});

test.each(['json', 'pretty'] as const)('no secret is written as %s, neither by field nor inside a text', (format) => {
  const { log, lines } = capture(format);
  log.info({ headers: { authorization: 'Bearer abcdefgh12345678' }, password: 'hunter2' }, 'request');
  log.info({ req: { headers: { authorization: 'Basic dXNlcjpodW50ZXIy' } } }, 'nested');
  log.warn({ err: new Error('GET https://user:hunter2@registry.example/v2/?token=hunter2&x=1') }, 'pull failed');
  log.warn(`key dtn_${'0123456789abcdef'.repeat(4)} with Authorization: Bearer hunter2hunter2`);
  log.info(`login of ${'0123456789abcdef'.repeat(3)}`);
  const link = 'hunter2'.padEnd(32, 'a');
  log.warn({ path: `/api/sandbox/x/ports/3000/signed-preview-url/${link}/expire` }, 'request');
  log.warn({ path: `//preview/${link}/3000?DAYTONA_SANDBOX_AUTH_KEY=hunter2` }, 'request');
  const text = lines.join('');
  expect(text).not.toMatch(/hunter2|abcdefgh12345678|dXNlcjpodW50ZXIy|0123456789abcdef/);
  expect(text).toContain('registry.example');
});

test('what is below the level is not written', () => {
  const { log, lines } = capture('json');
  log.trace('too fine');
  expect(lines).toEqual([]);
});

test('nothing in a record steers the terminal that shows it, or passes for another record', () => {
  const { log, lines } = capture('pretty');
  const hostile = 'a\u001b]0;title\u0007\u009b2J\r\n12:00:00.000 ERROR forged';
  log.info({ path: '/\u001b[2J' }, hostile);
  log.error({ err: new Error(hostile) }, 'it failed');
  expect(lines.join('')).not.toMatch(/[^\P{Cc}\n]/u);
  expect(lines[0]?.split('\n')).toHaveLength(2);
  expect(lines[0]).toContain('a\\x1b]0;title\\x07\\x9b2J\\x0d\\x0a12:00:00.000 ERROR forged');
});

test('a text of any shape is looked through in one pass', () => {
  for (const text of [
    'a.'.repeat(500_000),
    `x://${':'.repeat(500_000)}`,
    `://${'a:'.repeat(500_000)}`,
    'a'.repeat(1_000_000),
  ]) {
    expect(scrub(text)).toBe(text);
  }
});
