import { expect, test } from 'vitest';
import { credentialSettings, credentialsFrom, redact, withoutCredentials } from './credentials.ts';

test('user name and password are taken out of an address', () => {
  expect(withoutCredentials('https://me:p%40ss@host:8443/a@b.git')).toEqual({
    url: 'https://host:8443/a@b.git',
    username: 'me',
    password: 'p@ss',
  });
  expect(withoutCredentials('HTTPS://a:b@c@host/x')).toMatchObject({ url: 'HTTPS://host/x', password: 'b@c' });
  expect(withoutCredentials('git@host:a.git')).toEqual({ url: 'git@host:a.git', username: '', password: '' });
  expect(withoutCredentials('https://host/a@b').url).toBe('https://host/a@b');
});

test('the password answers for one host alone', () => {
  const keys = (url: string) => credentialSettings(url)?.map((setting) => setting.split('=', 1)[0]);
  expect(keys('https://host:8443/a')).toEqual(['credential.helper', 'credential.https://host:8443.helper']);
  expect(keys('http://host/a')).toEqual([
    'credential.helper',
    'credential.http://host.helper',
    'credential.https://host.helper',
  ]);
  expect(keys('git@host:a')).toBeUndefined();
  expect(keys('/srv/a')).toBeUndefined();
});

test('what cannot go through the pipe is refused', () => {
  expect(() => credentialsFrom('a', 'b\nc')).toThrow('line breaks');
  expect(credentialsFrom('', '')).toBeUndefined();
  expect(credentialsFrom(undefined, 'token')).toEqual({ username: 'git', password: 'token' });
});

test('secrets are taken out of what git says, in every form', () => {
  const values = { username: 'me', password: 's3cr/t' };
  const basic = Buffer.from('me:s3cr/t').toString('base64');
  const said = redact(`a s3cr/t b s3cr%2Ft c ${basic} d https://x:other@host/ e`, values);
  expect(said).toBe('a *** b *** c *** d https://***@host/ e');
});

test('what a remote says is looked through in one pass, whatever its shape', () => {
  for (const text of ['a'.repeat(1_000_000), `x://${':'.repeat(1_000_000)}`, `a://${'a:'.repeat(500_000)}`]) {
    expect(redact(text, undefined)).toBe(text);
  }
  expect(redact('to ..https://u:p:q@host/x and 1ssh://u:@host', undefined)).toBe(
    'to ..https://***@host/x and 1ssh://***@host',
  );
});
