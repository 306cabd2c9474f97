import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { run } from '../../platform/process.ts';

/** A token server as distribution's `auth: token` wants it: it signs JSON web tokens for who may have them. */
export interface TokenServer {
  /** The realm. */
  url: string;
  requests: { scope: string | null; service: string | null; authorization: string | undefined }[];
  lifetimeSeconds: number;
  /** The `auth` part of the registry's configuration. */
  auth(directory: string): Promise<object>;
  close(): Promise<void>;
}

export async function startTokenServer(user: { username: string; password: string }): Promise<TokenServer> {
  const keys: { key: string; certificate: string } = { key: '', certificate: '' };
  const expected = `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`;
  const http = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://localhost');
    const scope = searchParams.get('scope');
    const { authorization } = request.headers;
    server.requests.push({ scope, service: searchParams.get('service'), authorization });
    if (authorization !== undefined && authorization !== expected) {
      response.writeHead(401).end(JSON.stringify({ details: 'incorrect username or password' }));
      return;
    }
    // Anonymous people get a token as well, with nothing in it, as at Docker Hub.
    const [type = '', name = '', actions = ''] = scope?.split(':') ?? [];
    const access = authorization === undefined || scope === null ? [] : [{ type, name, actions: actions.split(',') }];
    const token = signToken({ access, lifetimeSeconds: server.lifetimeSeconds, ...keys });
    response.end(JSON.stringify({ token, expires_in: server.lifetimeSeconds }));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const address = http.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const server: TokenServer = {
    url: `http://127.0.0.1:${address.port}/token`,
    requests: [],
    lifetimeSeconds: 300,
    async auth(directory) {
      Object.assign(keys, await makeCertificate(directory, 'token'));
      const rootcertbundle = join(directory, 'token.crt');
      return { token: { realm: server.url, service: 'test-registry', issuer: 'test-issuer', rootcertbundle } };
    },
    async close() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
  return server;
}

/** A self-signed certificate and its key, `NAME.crt` and `NAME.key` in the directory. */
export async function makeCertificate(directory: string, name: string): Promise<{ key: string; certificate: string }> {
  const keyFile = join(directory, `${name}.key`);
  const certificateFile = join(directory, `${name}.crt`);
  const kind = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1'];
  const names = ['-addext', `subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:${hostname()}`];
  await run('openssl', ['req', ...kind, ...names, '-keyout', keyFile, '-out', certificateFile], { timeoutMs: 30_000 });
  return { key: await readFile(keyFile, 'utf8'), certificate: await readFile(certificateFile, 'utf8') };
}

interface TokenClaims {
  access: object[];
  lifetimeSeconds: number;
  key: string;
  certificate: string;
}

function signToken({ access, lifetimeSeconds, key, certificate }: TokenClaims): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const head = { typ: 'JWT', alg: 'RS256', x5c: [new X509Certificate(certificate).raw.toString('base64')] };
  const claims = {
    iss: 'test-issuer',
    sub: 'someone',
    aud: 'test-registry',
    iat: now,
    nbf: now - 10,
    exp: now + lifetimeSeconds,
    jti: randomUUID(),
    access,
  };
  const body = `${encode(head)}.${encode(claims)}`;
  return `${body}.${sign('RSA-SHA256', Buffer.from(body), createPrivateKey(key)).toString('base64url')}`;
}

/** The `auth` part for a file of user names and bcrypt hashes; it knows `user` with the password `s3cret-pass`. */
export async function htpasswdAuth(directory: string): Promise<object> {
  const path = join(directory, 'htpasswd');
  await writeFile(path, 'user:$2a$05$abcdefghijklmnopqrstuuV7fpPozvyqJfnY19y0802WTlXUm6Rjy\n');
  return { htpasswd: { realm: 'test', path } };
}
