import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Config } from '../../platform/config-schema.ts';
import { DarkroomError } from '../../platform/errors.ts';
import type { PreviewTarget } from '../../sandboxes/index.ts';
import type { HttpMetrics } from '../metrics.ts';
import { createAdmission } from './admission.ts';
import { type AdmitDeps, admit } from './admit.ts';
import { COOKIE, withoutKey } from './credentials.ts';
import type { Exchange } from './exchange.ts';
import { forwardRequest } from './forward-request.ts';
import { forwardUpgrade, responseOn } from './forward-upgrade.ts';
import { hostNameOf, type PreviewPlace, placeOf } from './place.ts';
import { answerPreflight, isPreflight } from './preflight.ts';
import { answerProblem, PreviewProblem, toProblem, wantsPage } from './problem.ts';

export interface PreviewFrontDeps extends Omit<AdmitDeps, 'sandboxAt'> {
  settings: Config['preview'];
  publicUrl: string | undefined;
  /** How this server is reached, where `publicUrl` does not say it. */
  protocol: 'http' | 'https';
  metrics: Pick<HttpMetrics, 'observeRequest'>;
  log: { debug(data: object, message: string): void; error(data: object, message: string): void };
}

/** The surface that shows ports of sandboxes: by host name, and below `/preview/`. It is asked before all others. */
export interface PreviewFront {
  /** Whether a request is for a preview, well or badly said. What is one reaches no other surface. */
  takes(request: IncomingMessage): boolean;
  /** `expectsContinue`: the client waits for a word before it sends its body; the program says it. */
  serve(request: IncomingMessage, response: ServerResponse): void;
  serveUpgrade(request: IncomingMessage, client: Socket, head: Buffer): void;
  /** Cuts what has no end of its own, and takes nothing more. Requests under way may end. */
  close(): void;
}

const BODY_STALL_MS = 60_000;
const TUNNEL_IDLE_MS = 60 * 60_000;

export function createPreviewFront(deps: PreviewFrontDeps): PreviewFront {
  const { previews, settings, log } = deps;
  const base = deps.publicUrl === undefined ? undefined : new URL(deps.publicUrl);
  const rules = {
    domain: settings.domain === undefined ? undefined : hostNameOf(settings.domain),
    ownHost: base?.hostname,
  };
  const protocol = base === undefined ? deps.protocol : base.protocol === 'https:' ? 'https' : 'http';
  const idleMs = settings.idleSeconds * 1000;
  const admission = createAdmission(settings);
  /** What is open without an end of its own (WebSockets, streams of events), and what came by a signed link. */
  const endless = new Set<AbortController>();
  const byLink = new Map<string, Set<AbortController>>();
  let closed = false;

  previews.onExpired((token) => {
    for (const cut of byLink.get(token) ?? []) cut.abort();
  });

  const findPlace = ({ url = '/', headers }: IncomingMessage) => placeOf({ url, host: headers.host }, rules);

  /** Of a name of ours: a page that was opened there belongs to it. */
  function sandboxAt(host: string): string | undefined {
    const place = placeOf({ url: '/', host }, rules);
    return typeof place === 'object' && place.subject.kind === 'sandbox' ? place.subject.sandboxId : undefined;
  }

  function placeFor(request: IncomingMessage): PreviewPlace {
    const place = findPlace(request);
    if (place === 'nowhere' || place === 'elsewhere') {
      throw new PreviewProblem(404, 'This address names no port of a sandbox.');
    }
    if (closed) throw new PreviewProblem(503, 'The server is stopping.', { retryAfterSeconds: 1 });
    return place;
  }

  /** Sets the cookie by which a browser is let in from now on. */
  function cookieOf(place: PreviewPlace, target: PreviewTarget): string {
    const path = place.prefix === '' ? '/' : `/preview/${target.sandboxId}/${target.port}`;
    const secure = protocol === 'https' ? '; Secure' : '';
    return `${COOKIE}=${previews.cookieFor(target)}; Path=${path}; HttpOnly; SameSite=Lax${secure}`;
  }

  function keep(target: PreviewTarget, cut: AbortController): () => void {
    const { link } = target;
    if (link === undefined) return () => {};
    const open = byLink.get(link) ?? new Set();
    byLink.set(link, open.add(cut));
    return () => {
      open.delete(cut);
      if (open.size === 0 && byLink.get(link) === open) byLink.delete(link);
    };
  }

  /** Everything of an exchange that is the same for plain requests and for upgrades. */
  async function exchanged(
    request: IncomingMessage,
    gone: AbortController,
    forward: (exchange: Exchange) => Promise<void>,
    redirect: (location: string, cookie: string) => boolean,
  ): Promise<void> {
    const place = placeFor(request);
    const { target, byQuery } = await admit({ ...deps, sandboxAt }, request, place);
    const setCookie = byQuery ? cookieOf(place, target) : undefined;
    if (setCookie !== undefined && redirect(place.prefix + withoutKey(place.target), setCookie)) return;
    const leave = admission.enter(target);
    const letGo = keep(target, gone);
    const endUse = previews.begin(target.sandboxId);
    try {
      const hide = target.link === undefined ? undefined : { token: target.link, sandboxId: target.sandboxId };
      const socket = await connect(target, gone.signal);
      const { port } = target;
      try {
        await forward({
          request,
          target: withoutKey(place.target),
          socket,
          forwarding: { host: request.headers.host ?? '', protocol, prefix: place.prefix, hide, upgrade: false },
          relaying: { port, prefix: place.prefix, hide, setCookie },
          onAnswered: endUse,
          onTraffic: () => previews.touch(target.sandboxId),
          onEndless: () => endless.add(gone),
          signal: gone.signal,
        });
      } finally {
        socket.destroy();
      }
    } finally {
      endUse();
      letGo();
      leave();
    }
  }

  async function connect(target: PreviewTarget, signal: AbortSignal): Promise<Socket> {
    try {
      const socket = await previews.connect(target, signal);
      socket.on('error', () => {});
      socket.setNoDelay(true);
      return socket;
    } catch (cause) {
      if (!(cause instanceof DarkroomError)) throw cause;
      const { code } = cause;
      if (code === 'not_found') {
        throw new PreviewProblem(
          502,
          `Nothing listens on port ${target.port} of this sandbox. Start a server on it and try again.`,
          { cause },
        );
      }
      if (code === 'timeout')
        throw new PreviewProblem(504, 'The program in the sandbox takes no connection.', { cause });
      if (code === 'conflict') throw new PreviewProblem(400, 'Sandbox is not running.', { cause });
      throw cause;
    }
  }

  function observe(request: IncomingMessage, began: number, status: number): void {
    const { method = '' } = request;
    const seconds = (performance.now() - began) / 1000;
    deps.metrics.observeRequest({ method, route: '/preview', status, seconds });
    // Not the path: it may hold what nobody but the program should know.
    log.debug({ method, status, ms: Math.round(seconds * 1000) }, 'preview');
  }

  function failed(error: unknown): PreviewProblem {
    const problem = toProblem(error);
    if (problem.status === 500) log.error({ err: problem.cause }, 'a preview failed');
    return problem;
  }

  /** Nothing that a client or a program says may end the server. */
  function unanswered(error: unknown, connection: { destroy(): void }): void {
    log.error({ err: error }, 'the problem of a preview could not be told');
    connection.destroy();
  }

  return {
    takes: (request) => findPlace(request) !== 'elsewhere',
    serve(request, response) {
      const began = performance.now();
      const gone = new AbortController();
      response.once('close', () => {
        if (!response.writableFinished) gone.abort(new PreviewProblem(499, 'The client is gone.'));
        endless.delete(gone);
        observe(request, began, response.headersSent ? response.statusCode : 499);
      });
      exchanged(
        request,
        gone,
        (exchange) => forwardRequest(exchange, response, { idleMs, bodyStallMs: Math.min(BODY_STALL_MS, idleMs / 2) }),
        (location, cookie) => redirected(request, response, location, cookie),
      )
        .catch((error: unknown) => {
          const problem = failed(error);
          if (problem.status === 401 && isPreflight(request)) answerPreflight(request, response);
          else answerProblem(request, response, problem);
        })
        .catch((error: unknown) => unanswered(error, response));
    },
    serveUpgrade(request, client, head) {
      const began = performance.now();
      const gone = new AbortController();
      const { bytesWritten } = client;
      let status = 101;
      endless.add(gone);
      client.on('error', () => client.destroy());
      client.once('close', () => {
        gone.abort(new PreviewProblem(499, 'The client is gone.'));
        endless.delete(gone);
        observe(request, began, status);
      });
      exchanged(
        request,
        gone,
        (exchange) =>
          forwardUpgrade(exchange, client, head, {
            answerMs: idleMs,
            idleMs: TUNNEL_IDLE_MS,
          }),
        () => false,
      )
        .catch((error: unknown) => {
          const problem = failed(error);
          status = problem.status;
          if (client.destroyed) return;
          // Half an answer cannot be followed by another one.
          if (client.bytesWritten > bytesWritten) client.destroy();
          else answerProblem(request, responseOn(request, client), problem);
        })
        .catch((error: unknown) => unanswered(error, client));
    },
    close() {
      closed = true;
      for (const cut of [...endless]) cut.abort(new PreviewProblem(503, 'The server is stopping.'));
    },
  };
}

/** A browser's own address bar is not the place for a key. Programs get their answer at once: they keep no cookies. */
function redirected(request: IncomingMessage, response: ServerResponse, location: string, cookie: string): boolean {
  if (request.method !== 'GET' || !wantsPage(request)) return false;
  response.writeHead(307, {
    // One slash alone, or the browser would take what follows for a host; to it a backslash is a slash.
    Location: location.replace(/^[/\\]{2,}/, '/'),
    'Set-Cookie': cookie,
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'Content-Length': 0,
  });
  response.end();
  return true;
}
