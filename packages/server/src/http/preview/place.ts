import type { PreviewSubject } from '../../sandboxes/index.ts';
import { PREVIEW_TOKEN } from '../../sandboxes/preview-tokens.ts';
import { isUuid } from '../../snapshots/find.ts';

/** Where a request for a preview came in. */
export interface PreviewPlace {
  subject: PreviewSubject;
  port: number;
  /** The sandbox's id or the link's token, as it stands in the request. */
  name: string;
  /** What stands before the program's own paths: nothing where the host name says it all. */
  prefix: string;
  /** What the program is asked for: path and query. */
  target: string;
}

/** `elsewhere`: no request for a preview. `nowhere`: one, but it names no port of a sandbox. */
export type FoundPlace = PreviewPlace | 'elsewhere' | 'nowhere';

export interface PlaceRules {
  /** Previews have names below it, as they have below `localhost`. */
  domain: string | undefined;
  /** By which the server itself is called; no preview, whatever it looks like. */
  ownHost: string | undefined;
}

const PATH = /^\/preview\/([^/?]+)\/(\d+)(?=[/?]|$)/;
const LABEL = /^(\d+)-([a-z0-9-]+)$/;

export function placeOf(request: { url: string; host: string | undefined }, rules: PlaceRules): FoundPlace {
  const host = hostNameOf(request.host ?? '');
  const label = labelOf(host, rules);
  if (label === undefined) return placeInPath(request.url);
  const [, port = '', name = ''] = LABEL.exec(label) ?? [];
  const place = named(name, port);
  // Only a server-wide OPTIONS has a target that is no path; a proxy's whole URL would say twice which host is meant.
  if (place === undefined || !/^[/*]/.test(request.url)) return 'nowhere';
  return { ...place, prefix: '', target: request.url };
}

function placeInPath(url: string): FoundPlace {
  const match = PATH.exec(url);
  if (match === null) return url.startsWith('/preview/') ? 'nowhere' : 'elsewhere';
  const [prefix, name = '', port = ''] = match;
  const place = named(name, port);
  if (place === undefined) return 'nowhere';
  const rest = url.slice(prefix.length);
  return { ...place, prefix, target: rest.startsWith('/') ? rest : `/${rest}` };
}

function named(name: string, port: string): Pick<PreviewPlace, 'subject' | 'port' | 'name'> | undefined {
  const subject = subjectOf(name);
  if (subject === undefined || !/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535) return undefined;
  return { subject, port: Number(port), name };
}

function subjectOf(name: string): PreviewSubject | undefined {
  if (isUuid(name)) return { kind: 'sandbox', sandboxId: name.toLowerCase() };
  if (PREVIEW_TOKEN.test(name)) return { kind: 'link', token: name };
  return undefined;
}

/** What stands before a domain of previews, where it begins as only the names of previews do. */
function labelOf(host: string, { domain, ownHost }: PlaceRules): string | undefined {
  if (host === ownHost || !/^\d+-/.test(host)) return undefined;
  for (const below of [domain, 'preview.localhost', 'localhost']) {
    if (below !== undefined && host.endsWith(`.${below}`)) return host.slice(0, -below.length - 1);
  }
  return undefined;
}

/** Without the port and the root's dot, in lower case. */
export function hostNameOf(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
}
