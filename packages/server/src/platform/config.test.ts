import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig, parseListen } from './config.ts';
import { configurationPage } from './config-docs.ts';
import { listSettings } from './config-settings.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'darkroom-config-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(text: string): string {
  const path = join(directory, `${crypto.randomUUID()}.yaml`);
  writeFileSync(path, text);
  return path;
}

const load = (env: NodeJS.ProcessEnv = {}, flags = {}) => loadConfig({ env, flags });

test('without anything, every setting has its default', () => {
  const config = load({ PATH: '/bin', HOME: '/root' });
  expect(config).toMatchObject({ stateDir: '/var/lib/darkroom', listen: '127.0.0.1:3986', log: { level: 'info' } });
  expect(config.database.url).toBeUndefined();
});

test('the command line wins over the environment, the environment over the file', () => {
  const configFile = file(
    'stateDir: /file\nlisten: 1.1.1.1:1\nnetwork: { cidr: 10.1.0.0/16, allowPrivate: [192.168.0.0/16] }',
  );
  const env = { DARKROOM_LISTEN: '2.2.2.2:2', DARKROOM_STATE_DIR: '/env', DARKROOM_NETWORK_CIDR: '10.2.0.0/16' };
  expect(load(env, { configFile, stateDir: '/flag' })).toMatchObject({
    stateDir: '/flag',
    listen: '2.2.2.2:2',
    network: { cidr: '10.2.0.0/16', allowPrivate: ['192.168.0.0/16'] },
  });
});

test('the environment reads numbers, lists and maps, and leaves empty variables out', () => {
  const config = load({
    DARKROOM_RUNTIME_READY_NAMESPACES: '3',
    DARKROOM_REGISTRIES_INSECURE: '["registry:5000"]',
    DARKROOM_REGISTRIES_MIRRORS: '{"docker.io":["http://localhost:5000"]}',
    DARKROOM_LOG_LEVEL: '',
    DATABASE_URL: 'postgres://u:p@db/x',
    DARKROOM_TEST_DATABASE_URL: 'ignored',
  });
  expect(config.runtime.readyNamespaces).toBe(3);
  expect(config.registries).toMatchObject({
    insecure: ['registry:5000'],
    mirrors: { 'docker.io': ['http://localhost:5000'] },
  });
  expect(config.log.level).toBe('info');
  expect(config.database.url).toBe('postgres://u:p@db/x');
});

test.each([
  [
    { DARKROOM_LISTEN: 'nowhere' },
    'listen (DARKROOM_LISTEN): must be HOST:PORT, for example 127.0.0.1:3986; got "nowhere"',
  ],
  [{ DARKROOM_LISTEN: 'a:99999' }, 'listen (DARKROOM_LISTEN): the port must be at most 65535'],
  [{ DARKROOM_LOG_LEVEL: 'loud' }, 'log.level (DARKROOM_LOG_LEVEL): Invalid option: expected one of "trace"'],
  [
    { DARKROOM_JOBS_PULL_CONCURRENCY: 'many' },
    'jobs.pullConcurrency (DARKROOM_JOBS_PULL_CONCURRENCY): Invalid input: expected number',
  ],
  [
    { DARKROOM_REGISTRIES_INSECURE: 'a,b' },
    'registries.insecure (DARKROOM_REGISTRIES_INSECURE): Invalid input: expected array, received string (written as JSON)',
  ],
  [
    { DARKROOM_NETWORK_CDIR: 'x' },
    'DARKROOM_NETWORK_CDIR (environment): there is no such setting; did you mean DARKROOM_NETWORK_CIDR?',
  ],
])('a wrong variable %o is named with what is allowed', (env, message) => {
  expect(() => load(env)).toThrow(message);
});

test.each([
  ['netwrok:\n  cidr: 10.0.0.0/16', 'there is no such setting; did you mean network?'],
  ['network:\n  cdir: 10.0.0.0/16', 'network.cdir (FILE): there is no such setting; did you mean network.cidr?'],
  [
    'database:\n  maxConnections: 1000',
    'database.maxConnections (FILE): Too big: expected number to be <=200; got 1000',
  ],
  ['network: 5', 'network (FILE): Invalid input: expected object, received number; got 5'],
  [
    'network: { allowPrivate: [not-a-range] }',
    'network.allowPrivate.0 (FILE): must be an address range such as 10.0.0.0/8',
  ],
  ['- a\n- b', 'must be a map of settings'],
  ['a: 1\na: 2', 'is not YAML'],
  ['listen: [', 'is not YAML'],
])('a wrong file %j is refused with the field', (text, message) => {
  const configFile = file(text);
  expect(() => load({}, { configFile })).toThrow(message.replace('FILE', configFile));
});

test('every mistake is told at once, and no password with it', () => {
  const env = { DATABASE_URL: 'mysql://root:hunter2@db/x', DARKROOM_LISTEN: 'x', DARKROOM_LOG_FORMAT: 'xml' };
  const attempt = () => load(env, { stateDir: 'relative' });
  expect(attempt).toThrow(/stateDir \(--state-dir\): must be an absolute path; got "relative"/);
  expect(attempt).toThrow(/database\.url \(DATABASE_URL\): must be a URL such as postgresql:/);
  expect(attempt).toThrow(/log\.format/);
  expect(attempt).not.toThrow(/hunter2/);
});

test('a file that is not there is an error, an empty one is not', () => {
  expect(() => load({}, { configFile: '/does/not/exist.yaml' })).toThrow('/does/not/exist.yaml');
  expect(load({ DARKROOM_CONFIG: file('') }).listen).toBe('127.0.0.1:3986');
});

test('an address is taken apart, with brackets or without', () => {
  expect(parseListen('[::1]:80')).toEqual({ host: '::1', port: 80 });
  expect(parseListen('localhost:0')).toEqual({ host: 'localhost', port: 0 });
});

test('no two settings share a variable, and each says what it means', () => {
  const settings = listSettings();
  expect(new Set(settings.map((setting) => setting.variable)).size).toBe(settings.length);
  for (const setting of settings) expect(setting.description, setting.name).not.toBe('');
});

test('docs/configuration.md has every setting as it is', () => {
  const page = readFileSync(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');
  expect(page).toBe(configurationPage());
});

test('steps of builds have the proxies of the server, and what is configured for them', () => {
  const env = { HTTP_PROXY: 'http://a', https_proxy: 'http://b', NO_PROXY: '', OTHER: 'x' };
  expect(load(env).builds.stepEnvironment).toEqual({ HTTP_PROXY: 'http://a', https_proxy: 'http://b' });
  const more = { ...env, DARKROOM_BUILDS_STEP_ENVIRONMENT: '{"HTTP_PROXY": "http://c", "MIRROR": "m"}' };
  expect(load(more).builds.stepEnvironment).toEqual({ HTTP_PROXY: 'http://c', https_proxy: 'http://b', MIRROR: 'm' });
});
