import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolverFor } from './name-servers.ts';

let directory: string;
let warnings: string[];
const log = { info() {}, warn: (_: object, message: string) => void warnings.push(message), error() {} };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'darkroom-resolver-'));
  warnings = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function hostHas(host?: string, behindStub?: string) {
  const files = { host: join(directory, 'host'), behindStub: join(directory, 'stub') };
  if (host !== undefined) writeFileSync(files.host, host);
  if (behindStub !== undefined) writeFileSync(files.behindStub, behindStub);
  return files;
}

describe('the sandboxes’ name servers', () => {
  test('are the configured ones, without anything of the host', () => {
    const found = resolverFor(['9.9.9.9', '10.0.0.53'], log, hostHas('nameserver 1.1.1.1\nsearch corp.example\n'));
    expect(found.nameServers).toEqual(['9.9.9.9', '10.0.0.53']);
    expect(found.resolvConf).toBe('nameserver 9.9.9.9\nnameserver 10.0.0.53\n');
  });

  test('are the host’s otherwise, with its search list and options', () => {
    const host = '# made by hand\nsearch corp.example\n nameserver\t10.1.1.1\nnameserver 8.8.8.8\noptions ndots:2\n';
    expect(resolverFor(undefined, log, hostHas(host))).toEqual({
      nameServers: ['10.1.1.1', '8.8.8.8'],
      resolvConf: 'nameserver 10.1.1.1\nnameserver 8.8.8.8\nsearch corp.example\noptions ndots:2\n',
    });
  });

  test('are the ones behind the host’s local stub, which sandboxes cannot reach', () => {
    const found = resolverFor(undefined, log, hostHas('nameserver 127.0.0.53\n', 'nameserver 172.31.0.2\n'));
    expect(found.nameServers).toEqual(['172.31.0.2']);
    expect(warnings).toEqual([]);
  });

  test('leave out what has only IPv6, what is named twice, and more than three', () => {
    const host = ['fd00::53', '1.1.1.1', '1.1.1.1', '127.0.0.1', '1.0.0.1', '8.8.8.8', '8.8.4.4'];
    const found = resolverFor(undefined, log, hostHas(host.map((address) => `nameserver ${address}\n`).join('')));
    expect(found.nameServers).toEqual(['1.1.1.1', '1.0.0.1', '8.8.8.8']);
  });

  test.each([[undefined], ['nameserver 127.0.0.1\n'], ['']])(
    'say what to configure when the host has none: %j',
    (host) => {
      const found = resolverFor(undefined, log, hostHas(host));
      expect(found.nameServers).toEqual([]);
      expect(found.resolvConf).toContain('network.dns');
      expect(warnings.join()).toContain('network.dns');
    },
  );

  test('warn about configured ones that no sandbox can reach', () => {
    expect(resolverFor(['127.0.0.1', '2001:db8::1', '1.1.1.1'], log, hostHas()).nameServers).toEqual(['1.1.1.1']);
    expect(warnings).toHaveLength(1);
  });
});
