import { type Advice, type HintRule, hint } from './hint-rule.ts';

const NETWORK = { class: 'network', code: 'unavailable', retryable: true } as const satisfies Omit<Advice, 'hint'>;

export const NETWORK_RULES: readonly HintRule[] = [
  {
    name: 'no network was asked for',
    command: /--network=none/,
    output: /Temporary failure|Could not resolve|Network is unreachable/i,
    advise: hint('The step has no network, as its --network=none says.'),
  },
  {
    name: 'git asks who one is',
    output:
      /could not read (?:Username|Password) for|fatal: Authentication failed|terminal prompts disabled|Permission denied \(publickey|remote: (?:HTTP Basic: Access denied|Invalid username or password|Support for password authentication was removed)/i,
    advise: hint(
      'git wants credentials, or the repository does not exist: give a token as a secret and mount it, RUN --mount=type=secret,id=token git clone https://x-access-token:$(cat /run/secrets/token)@….',
      { class: 'registry_auth' },
    ),
  },
  {
    name: 'git does not know the host',
    output: /Host key verification failed/,
    advise: hint(
      'The host’s SSH key is not known in the image: clone by https, or RUN ssh-keyscan HOST >> ~/.ssh/known_hosts before.',
    ),
  },
  {
    name: 'git finds nothing',
    output: /remote: Repository not found|fatal: repository .{1,300} not found|Remote branch \S{1,100} not found/i,
    advise: hint('The repository or branch does not exist, or is not shown without credentials.', {
      class: 'registry_auth',
    }),
  },
  {
    name: 'asked too often',
    output:
      /\b(?:HTTP(?: error|\/[\d.]+)?|status(?: code)?|error(?: code)?|returned error:|ERROR)[:= ]+429\b|429 Too Many Requests|\btoomanyrequests\b|E429|API rate limit exceeded/i,
    advise: hint(
      'A server that the step asks was asked too often: build again later, or use credentials or a mirror.',
      {
        class: 'rate_limit',
        code: 'rate_limited',
        retryable: true,
      },
    ),
  },
  {
    name: 'not allowed',
    output:
      /\b(?:HTTP(?: error|\/[\d.]+)?|status(?: code)?|returned error:|ERROR|response)[:= ]+40[13]\b|\b40[13] (?:Client Error|Unauthorized|Forbidden)|npm (?:ERR!|error) (?:code )?E40[13]|ENEEDAUTH/i,
    advise: hint(
      'A server wants credentials, or others: give them as a secret of the build and mount it (RUN --mount=type=secret,id=…), never as ARG or ENV.',
      { class: 'registry_auth' },
    ),
  },
  {
    name: 'no such name',
    output:
      /Temporary failure (?:resolving|in name resolution)|Could not resolve host|Name or service not known|getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|bad address ['‘"]|no such host|Name does not resolve|server can't find|EAI_AGAIN|NameResolutionError|dns error/i,
    advise: hint(
      'A name could not be resolved: check how it is written; else the name servers or the network of this server. Build again when they are back.',
      NETWORK,
    ),
  },
  {
    name: 'certificates',
    output:
      /certificate verify failed|SSL certificate problem|unable to get local issuer certificate|self[- ]signed certificate|x509: certificate|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)|server certificate verification failed|unable to locally verify the issuer/i,
    advise: hint(
      'The certificate of a server is not trusted: install ca-certificates in a step before; an authority of one’s own must be known to this server.',
      {
        class: 'network',
      },
    ),
  },
  {
    name: 'nobody answers',
    output:
      /Connection (?:refused|timed out|reset by peer)|Network is unreachable|No route to host|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ReadTimeoutError|ConnectTimeout|NewConnectionError|Operation timed out|i\/o timeout|Could not connect to|unable to connect to|TLS handshake timeout|Failed to connect to|EOF occurred in violation of protocol|Could not handshake|unexpected EOF while|early EOF|The requested URL returned error: 5\d\d|\b50[0234] (?:Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out)/i,
    advise: hint(
      'A server could not be reached or did not answer well. Build again; if it stays so, check its address and the network of this server.',
      NETWORK,
    ),
  },
];
