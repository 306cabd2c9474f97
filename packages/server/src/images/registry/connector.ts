import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { buildConnector } from 'undici';
import { type AddressClass, classifyAddress } from './address.ts';
import { AddressRefused } from './failure.ts';

export interface ConnectorOptions {
  buildConnector: typeof buildConnector;
  /** Takes only public addresses: for where a public registry sends us. */
  publicOnly: boolean;
  /** Takes any certificate. */
  insecure: boolean;
  connectMs: number;
  secureContext: () => SecureContext;
  onConnect: (origin: string, reached: AddressClass) => void;
}

/** Connects to what a name stands for after DNS, so that no name leads where its address may not. */
export function createConnector(options: ConnectorOptions): buildConnector.connector {
  const allows = (address: string) => {
    const kind = classifyAddress(address);
    return kind === 'public' || (kind === 'internal' && !options.publicOnly);
  };
  const { buildConnector } = options;
  const lookup = createLookup(allows);
  const common = { lookup, timeout: options.connectMs };
  const plain = buildConnector(common);
  let secure: buildConnector.connector | undefined;
  const forTls = () => {
    secure ??= options.insecure
      ? buildConnector({ ...common, rejectUnauthorized: false })
      : buildConnector({ ...common, secureContext: options.secureContext() });
    return secure;
  };
  return (target, callback) => {
    // Sockets ask DNS only for names.
    if (isIP(target.hostname) !== 0 && !allows(target.hostname))
      return callback(refusal(target.hostname, [target.hostname]), null);
    const connect = target.protocol === 'https:' ? forTls() : plain;
    connect(target, (...[error, socket]) => {
      if (error !== null) return callback(error, null);
      if (socket.remoteAddress !== undefined) {
        options.onConnect(
          `${target.protocol}//${target.host ?? target.hostname}`,
          classifyAddress(socket.remoteAddress),
        );
      }
      callback(null, socket);
    });
  };
}

function createLookup(allows: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    dnsLookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, []);
      const usable = found.filter(({ address }) => allows(address));
      const [first] = usable;
      if (first === undefined)
        return callback(
          refusal(
            hostname,
            found.map(({ address }) => address),
          ),
          [],
        );
      if (options.all === true) return callback(null, usable satisfies LookupAddress[]);
      callback(null, first.address, first.family);
    });
  };
}

function refusal(hostname: string, addresses: readonly string[]): AddressRefused {
  return new AddressRefused(`${hostname} (${addresses.join(', ')}) is an address that images are not fetched from`);
}
