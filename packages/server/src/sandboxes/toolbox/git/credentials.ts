import { invalidRequest } from '../../../platform/errors.ts';

export interface GitCredentials {
  username: string;
  password: string;
}

/**
 * A command may ask more than once: for tags by a second connection, for submodules. What it does not ask for is in no buffer
 * of git's, and goes with the pipe.
 */
const COPIES = 64;

/**
 * What git asks for a password. It reads from a pipe that git and its helpers inherit, so that the secret is in no argument, no
 * environment and no file. `read` takes byte by byte from a pipe: what follows is there for the next question.
 */
const HELPER =
  '!f() { test "$1" = get || exit 0; IFS= read -r u <&3 && IFS= read -r p <&3 && printf "username=%s\\npassword=%s\\n" "$u" "$p"; }; f';

/** Gives git the pipe as descriptor 3, and nothing as its own input. */
export const WITH_PIPE = 'exec 3<&0 </dev/null; exec git "$@"';

/** Undefined when neither was given. */
export function credentialsFrom(username = '', password = ''): GitCredentials | undefined {
  if (username === '' && password === '') return undefined;
  if (/[\0\r\n]/.test(username + password)) {
    throw invalidRequest('The user name and the password must not contain line breaks or NUL');
  }
  // Where a token is the password most hosts take any name.
  return { username: username === '' ? 'git' : username, password };
}

export function pipeOf({ username, password }: GitCredentials): string {
  return `${username}\n${password}\n`.repeat(COPIES);
}

/**
 * Settings for one command: helpers of the user neither answer nor learn, and ours answers for the host of `url` alone, wherever
 * a redirect may lead. Undefined when it is not an address that git asks a password for.
 */
export function credentialSettings(url: string): string[] | undefined {
  const origins = originsOf(url);
  if (origins.length === 0) return undefined;
  return ['credential.helper=', ...origins.map((origin) => `credential.${origin}.helper=${HELPER}`)];
}

function originsOf(url: string): string[] {
  const parsed = URL.parse(url);
  if (parsed?.protocol === 'https:') return [parsed.origin];
  if (parsed?.protocol !== 'http:') return [];
  // Many hosts lead from http to https.
  return parsed.port === '' ? [parsed.origin, `https://${parsed.host}`] : [parsed.origin];
}

/** Takes user name and password out of an http(s) URL, where git would write them into `.git/config`. */
export function withoutCredentials(url: string): { url: string; username: string; password: string } {
  const match = /^(https?:\/\/)([^/?#]*)@(.*)$/is.exec(url);
  if (match === null) return { url, username: '', password: '' };
  const [, scheme = '', userinfo = '', rest = ''] = match;
  const colon = userinfo.indexOf(':');
  const [username, password] = colon === -1 ? [userinfo, ''] : [userinfo.slice(0, colon), userinfo.slice(colon + 1)];
  return { url: scheme + rest, username: decoded(username), password: decoded(password) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Takes secrets out of what git said: the ones that we gave it, and those in addresses that stand in the repository. */
export function redact(text: string, credentials: GitCredentials | undefined): string {
  // In one pass, however long the remote makes it: no part of the expression can begin where another one has to.
  const addresses = text.replace(/(:\/\/)[^/\s@:]*:[^/\s]*@/g, '$1***@');
  if (credentials === undefined || credentials.password === '') return addresses;
  const { username, password } = credentials;
  const forms = [
    password,
    encodeURIComponent(password),
    Buffer.from(`${username}:${password}`).toString('base64'),
    Buffer.from(password).toString('base64'),
  ];
  return forms.reduce((result, form) => result.replaceAll(form, '***'), addresses);
}
