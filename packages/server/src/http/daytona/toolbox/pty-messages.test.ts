import { describe, expect, test } from 'vitest';
import {
  chooseProtocol,
  exitedMessage,
  exitReason,
  knowsExitControl,
  offeredEnvironment,
  offeredProtocols,
} from './pty-messages.ts';

const token = (value: unknown) => `X-Daytona-Pty-Envs~${Buffer.from(JSON.stringify(value)).toString('base64url')}`;

describe('sub-protocols', () => {
  test('the one that is answered is never the environment, where there is another', () => {
    const secret = token({ KEY: 'secret' });
    expect(chooseProtocol(new Set([secret, 'X-Daytona-Pty-Exit-Control']))).toBe('X-Daytona-Pty-Exit-Control');
    expect(chooseProtocol(new Set([secret, 'X-Daytona-SDK-Version~1']))).toBe('X-Daytona-SDK-Version~1');
    expect(chooseProtocol(new Set([secret]))).toBe(secret);
    expect(chooseProtocol(new Set())).toBe(false);
  });

  test('are read from the header of the request', () => {
    const offered = offeredProtocols(`${token({ A: 'ü', B: '' })}, X-Daytona-Pty-Exit-Control`);
    expect(offeredEnvironment(offered)).toEqual({ A: 'ü', B: '' });
    expect(knowsExitControl(offered)).toBe(true);
    expect(offeredProtocols(undefined)).toEqual([]);
    expect(offeredEnvironment([])).toBeUndefined();
  });

  test.each([[token([1])], [token({ A: 1 })], [token('text')], ['X-Daytona-Pty-Envs~%%%'], ['X-Daytona-Pty-Envs~']])(
    '%s is no environment',
    (name) => {
      expect(() => offeredEnvironment([name])).toThrow('JSON object of strings');
    },
  );
});

describe('the end of a terminal', () => {
  test('is said with its exit code, and with a reason where there is one', () => {
    expect(JSON.parse(exitedMessage({ exitCode: 0, reason: undefined }))).toEqual({
      type: 'control',
      status: 'exited',
      exitCode: 0,
    });
    expect(JSON.parse(exitReason({ exitCode: 137, reason: 'ended by SIGKILL' }))).toEqual({
      exitCode: 137,
      exitReason: 'ended by SIGKILL',
    });
  });

  test('fits into a close frame, whatever the reason', () => {
    const reason = exitReason({ exitCode: 3, reason: 'ü'.repeat(200) });
    expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(123);
    expect(JSON.parse(reason)).toEqual({ exitCode: 3 });
  });
});
