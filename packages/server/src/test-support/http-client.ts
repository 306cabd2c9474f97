/** Asks a server as a client with one key does; errors of the dialect are answers here. */
export interface HttpClient {
  get(path: string): Promise<HttpAnswer>;
  post(path: string, body?: unknown): Promise<HttpAnswer>;
  put(path: string, body: unknown): Promise<HttpAnswer>;
  delete(path: string): Promise<HttpAnswer>;
  send(
    method: string,
    path: string,
    options?: { body?: RequestInit['body']; headers?: Record<string, string> },
  ): Promise<Response>;
}

export interface HttpAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what the wire has, and say themselves what they expect
  body: any;
}

export function httpClient(url: () => string, key: string | (() => string)): HttpClient {
  function send(
    method: string,
    path: string,
    options: { body?: RequestInit['body']; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    const headers = { authorization: `Bearer ${typeof key === 'string' ? key : key()}`, ...options.headers };
    return fetch(`${url()}${path}`, { method, headers, ...(options.body === undefined ? {} : { body: options.body }) });
  }
  async function ask(method: string, path: string, body?: unknown): Promise<HttpAnswer> {
    const json = { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const response = await send(method, path, body === undefined ? {} : json);
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  }
  return {
    get: (path) => ask('GET', path),
    post: (path, body) => ask('POST', path, body),
    put: (path, body) => ask('PUT', path, body),
    delete: (path) => ask('DELETE', path),
    send,
  };
}
